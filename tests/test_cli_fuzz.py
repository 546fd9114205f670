"""`shootdown fuzz`: campaigns as the user starts them, and what they say at the end."""

import json
import re
import shlex
import tempfile
from pathlib import Path

import pytest

from shootdown.store import find_campaign, list_campaigns, list_findings, open_store
from tests.command import complaint, inside, shootdown, through

SHORT = ("--engine", "random", "--workers", "1", "--seed", "7")
DB = "findings.db"


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a folder with the database of a short campaign against v1, and what the campaign printed."""
    folder = tmp_path_factory.mktemp("v1")
    ended = shootdown(folder, "fuzz", "--policy", "v1", "--execs", "150", "--name", "first", *SHORT)
    assert ended.code == 1, ended
    return folder, ended.out


def test_ends_with_finding_and_command(v1: tuple[Path, str]) -> None:
    """A campaign that found something ends with 1, its minimized scenario, and the command that replays it."""
    folder, out = v1
    lines = out.splitlines()

    assert "  cpu0 mprotect p0 rx" in lines
    replay = lines[-1].removeprefix("Replay: ")
    assert replay.startswith("shootdown replay ")
    assert inside(folder, *shlex.split(replay)[1:]).code == 1


def test_announces_before_it_ends(v1: tuple[Path, str]) -> None:
    """A finding is announced by a line of its own as soon as it is stored."""
    _, out = v1

    assert out.index("finding ") < out.index("Campaign first finished")


def test_is_in_the_database(v1: tuple[Path, str]) -> None:
    """The database has the campaign with its limits and totals, and its findings."""
    folder, _ = v1
    with open_store(folder / DB, create=False, readonly=True) as store:
        stored = find_campaign(store, "first")
        findings = list_findings(store, campaign=stored.id)

    campaign = stored.campaign
    assert (campaign.policy, campaign.engine, campaign.seed) == ("v1", "random", 7)
    assert (stored.status, stored.totals.executions, campaign.limits) == (
        "finished",
        150,
        {"execs": 150},
    )
    assert 0 < stored.totals.policy_flushes < stored.totals.reference_flushes
    assert "denied-though-allowed" in {finding.minimum.reason for finding in findings}


def test_default_engine_reports_as_json(tmp_path: Path) -> None:
    """With --json standard output is one JSON value; the default engine finds the defect among the seeds."""
    ended = shootdown(
        tmp_path,
        "fuzz",
        "--policy",
        "v1",
        "--until-finding",
        "--for",
        "50s",
        "--workers",
        "1",
        "--json",
    )
    summary = json.loads(ended.out)

    assert ended.code == 1
    assert (summary["engine"], summary["status"]) == ("atheris", "finished")
    assert summary["totals"]["features"] > 0
    (finding,) = summary["findings"]
    assert (finding["rule"], finding["skip"], finding["new"]) == (
        "C2",
        "mprotect:NX-cleared",
        True,
    )
    assert finding["replay"] == f"shootdown replay {finding['id']}"
    assert finding["id"] in ended.err


def test_sound_policy_finds_nothing(tmp_path: Path) -> None:
    """A policy that shows nothing illegal, on the whole corpus, ends with 0 and says so."""
    ended = shootdown(tmp_path, "fuzz", "--policy", "linux", "--execs", "130", *SHORT)

    assert (ended.code, "Nothing illegal was found." in ended.out) == (0, True)


def test_quiet_and_without_seeds(tmp_path: Path) -> None:
    """With --quiet there is only the end; with --no-seeds the first inputs are the engine's own."""
    ended = shootdown(
        tmp_path, "fuzz", "--policy", "linux", "--execs", "5", "--quiet", "--no-seeds", *SHORT
    )

    assert ended.code == 0
    assert ended.out.startswith("\nCampaign linux-")


def test_policy_from_a_file(tmp_path: Path) -> None:
    """A user's ten-line policy is fuzzed like any other; its findings can be replayed."""
    (tmp_path / "mine.py").write_text(
        "def needs_flush(old, new):\n    return not new & 1 or (old ^ new) & 0xFFFFFFF000 != 0\n"
    )

    ended = shootdown(
        tmp_path, "fuzz", "--policy", "mine.py", "--execs", "150", "--until-finding", *SHORT
    )

    assert ended.code == 1
    replay = ended.out.splitlines()[-1].removeprefix("Replay: ")
    assert inside(tmp_path, *shlex.split(replay)[1:]).code == 1


def test_policy_that_raises(tmp_path: Path) -> None:
    """A rule that raises ends the campaign with 2, the line of the file, and the command that shows it."""
    (tmp_path / "mine.py").write_text("def needs_flush(old, new):\n    return old[0]\n")

    ended = shootdown(tmp_path, "fuzz", "--policy", "mine.py", "--execs", "150", *SHORT)

    assert ended.code == 2
    assert "mine.py, line 2: TypeError: 'int' object is not subscriptable." in ended.out
    replay = ended.out.splitlines()[-1].removeprefix("Replay: ")
    assert "mine.py, line 2" in complaint(tmp_path, *shlex.split(replay)[1:])


def test_policy_that_answers_neither_yes_nor_no(tmp_path: Path) -> None:
    """A rule that forgets to answer is one sentence before the campaign begins, and leaves no database behind."""
    (tmp_path / "mine.py").write_text(
        "def needs_flush(old, new):\n    if old & ~new & 2:\n        return True\n"
    )

    line = complaint(tmp_path, "fuzz", "--policy", "mine.py", *SHORT)

    assert "mine.py: needs_flush must return True or False" in line
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".db"] == []


def test_policy_with_a_memory(tmp_path: Path) -> None:
    """A finding that does not show the same again is a failure of the harness: exit code 3, and nothing is stored."""
    (tmp_path / "mine.py").write_text(
        "calls = 0\n\ndef needs_flush(old, new):\n    global calls\n    calls += 1\n    return calls % 3 == 0\n"
    )

    ended = shootdown(tmp_path, "fuzz", "--policy", "mine.py", "--execs", "500", *SHORT)

    assert ended.code == 3
    assert "A finding did not reproduce: One scenario showed two things under mine" in ended.out
    assert inside(tmp_path, "findings", "list").out == "No findings.\n"


def test_too_many_workers_for_the_system(tmp_path: Path) -> None:
    """If the system has no room for another worker, the campaign fails with one sentence and leaves no process."""
    limited = ("sh", "-c", 'ulimit -n 40; exec "$@"', "sh")
    ended = through(
        limited, tmp_path, "fuzz", "--policy", "linux", "--workers", "30", "--for", "50s"
    )

    assert (ended.code, ended.out) == (3, "")
    assert re.fullmatch(
        r"shootdown: Worker \d+ cannot be started: Too many open files\.\n", ended.err
    )
    assert [path.name for path in tmp_path.iterdir()] == [DB]


def test_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no temporary folder can be made, one sentence says so, and no campaign is stored."""
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")

    ended = inside(tmp_path, "fuzz", "--policy", "linux", "--execs", "5", *SHORT)

    assert ended.code == 3
    assert ended.err == "shootdown: No temporary folder can be made: Not a directory.\n"
    with open_store(tmp_path / DB, create=False) as store:
        assert list_campaigns(store) == []


def test_workers_that_never_start(tmp_path: Path) -> None:
    """When workers die before they run anything, the campaign gives up after three: exit code 3 and the reason."""
    (tmp_path / "mine.py").write_text(
        "import os, sys\n\n"
        "if sys.argv[0].endswith('worker.py'):\n    print('no room', file=sys.stderr)\n    os._exit(9)\n\n\n"
        "def needs_flush(old, new):\n    return True\n"
    )

    ended = shootdown(tmp_path, "fuzz", "--policy", "mine.py", *SHORT)

    assert ended.code == 3
    assert ended.out.count("Worker 0 replaced") == 2
    assert "3 workers were lost before they ran anything: exit code 9: no room." in ended.out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "Missing option '--policy'"),
        (("--policy", "v9"), "There is no policy 'v9'"),
        (("--policy", "gone.py"), "gone.py cannot be read"),
        (("--policy", "v1", "--for", "soon"), "is not a time above zero such as 60s"),
        (("--policy", "v1", "--for", "0"), "is not a time above zero"),
        (("--policy", "v1", "--workers", "many"), "'many' is not a whole number"),
        (("--policy", "v1", "--name", ""), "name is printable and not empty"),
        (("--policy", "v1", "--name", "a\nb"), "name is printable and not empty"),
        (("--policy", "v1", "--workers", "0"), "Invalid value for '--workers'"),
        (("--policy", "v1", "--engine", "steam"), "Invalid value for '--engine'"),
        (("--policy", "v1", "--exclude-seed", "good_nothing"), "has no scenario 'good_nothing'"),
        (("--policy", "v1", "--db", "no/such/folder.db"), "folder no/such does not exist"),
        (("--resume", "first"), "findings.db does not exist"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: tuple[str, ...], sentence: str) -> None:
    """Wrong usage is one sentence and exit code 2, and leaves no database behind."""
    assert sentence in complaint(tmp_path, "fuzz", *options)
    assert list(tmp_path.iterdir()) == []


def test_unknown_campaign_to_resume(v1: tuple[Path, str]) -> None:
    """To resume a campaign that the database does not have is one sentence."""
    folder, _ = v1

    assert "has no campaign named second" in complaint(folder, "fuzz", "--resume", "second")
