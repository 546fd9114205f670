"""`shootdown minimize` and `shootdown lockstep`: the tools for scenarios of the user."""

from pathlib import Path

from shootdown.scenario import parse
from tests.command import NX, complaint, document, inside, shootdown

LONG = NX + "cpu0 write p0\ncpu0 munmap p0\n"


def test_minimize_prints_a_scenario_that_still_fails(tmp_path: Path) -> None:
    """The minimum is printed as a text that shows the same when it is replayed, as its expect line says."""
    (tmp_path / "long.txt").write_text(LONG)

    ended = shootdown(tmp_path, "minimize", "long.txt", "--policy", "v1")
    (tmp_path / "short.txt").write_text(ended.out)

    assert ended.code == 1
    assert parse(ended.out).scenario == parse(NX).scenario
    assert inside(tmp_path, "replay", "short.txt").code == 1


def test_minimize_as_json(tmp_path: Path) -> None:
    """As JSON the minimum comes with rule, reason, skip and the number of runs."""
    (tmp_path / "long.txt").write_text(LONG)

    shown = document(tmp_path, "minimize", "long.txt", "--policy", "v1", code=1)

    assert (shown["rule"], shown["skip"], shown["records"]) == ("C2", "mprotect:NX-cleared", 3)
    assert shown["complete"]


def test_minimize_needs_something_illegal(tmp_path: Path) -> None:
    """A scenario that is legal under the policy has no minimum: exit code 0 and a sentence."""
    (tmp_path / "long.txt").write_text(LONG)

    ended = inside(tmp_path, "minimize", "long.txt", "--policy", "linux")

    assert (ended.code, ended.out) == (0, "")
    assert "shows nothing illegal under linux" in ended.err


def test_lockstep_of_a_sound_policy(tmp_path: Path) -> None:
    """A sound policy and the reference show the same on random scenarios."""
    ended = shootdown(tmp_path, "lockstep", "--random", "20", "--policy", "minimal")

    assert (ended.code, "what the calls allow, in 20 scenarios" in ended.out) == (0, True)
    assert (
        document(tmp_path, "lockstep", "--random", "5", "--policy", "linux")["difference"] is None
    )


def test_lockstep_of_a_broken_policy(tmp_path: Path) -> None:
    """A policy that shows something else ends with 1, both outcomes and the command that shows them again."""
    (tmp_path / "nx.txt").write_text(NX)

    ended = inside(tmp_path, "lockstep", "nx.txt", "--policy", "v1")

    assert ended.code == 1
    assert "v1: cpu0 p0 fetch ACCERR" in ended.out
    assert "reference: cpu0 p0 fetch access 0" in ended.out
    assert ended.out.splitlines()[-1] == "  shootdown lockstep nx.txt --policy v1"


def test_lockstep_needs_one_source(tmp_path: Path) -> None:
    """Neither or both of file and --random is one sentence."""
    assert "Give either" in complaint(tmp_path, "lockstep", "--policy", "v1")
    assert "Give either" in complaint(tmp_path, "lockstep", "x", "--random", "1", "--policy", "v1")
