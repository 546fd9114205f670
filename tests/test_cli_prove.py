"""`shootdown prove`: verdicts as the user gets them, in words, as JSON, in the database and as exit codes."""

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from shootdown.store import list_campaigns, list_findings, list_proofs, open_store
from tests.command import (
    SHOOTDOWN,
    complaint,
    document,
    group_is_gone,
    inside,
    shootdown,
    wait_until,
)

DB = "findings.db"
ONE = ("--pages", "1", "--workers", "1")
LEGAL = (*ONE, "--policy", "linux", "--ops", "2", "--operations", "read,dontneed")
ILLEGAL = (*ONE, "--policy", "v1", "--ops", "3", "--operations", "read,exec,mprotect")
LONG = (*ONE, "--policy", "linux", "--ops", "3", "--operations", "read,write,munmap")
"""More than a round, so that there is a time at which to stop it."""


# Verdicts.


def test_legal(tmp_path: Path) -> None:
    """Nothing illegal in the scope: exit code 0, the scope, what was explored, and the verdict last."""
    ended = shootdown(tmp_path, "prove", *LEGAL)
    lines = ended.out.splitlines()

    assert (ended.code, ended.err) == (0, "")
    assert lines[0].startswith(
        "linux: 2 CPUs, 1 page (private, 1 ASID, batch 1), up to 2 operations"
    )
    assert [line.split(":")[0] for line in lines if " of 2 operations explored" in line] == [
        "1 of 2 operations explored",
        "2 of 2 operations explored",
    ]
    assert lines[-1] == "No illegal outcome in this scope."


def test_illegal(tmp_path: Path) -> None:
    """A counterexample: exit code 1, how many operations it has, its minimum, and a command that shows it again."""
    ended = shootdown(tmp_path, "prove", *ILLEGAL)

    assert ended.code == 1
    assert "Illegal: C2 denied-though-allowed with 2 operations, and none with fewer." in ended.out
    replay = ended.out.splitlines()[-1].removeprefix("Replay: ")
    assert replay.startswith("shootdown replay ")
    again = shootdown(tmp_path, *shlex.split(replay)[1:])
    assert (again.code, "C2 denied-though-allowed" in again.out) == (1, True)


def test_undecided(tmp_path: Path) -> None:
    """A limit: exit code 4, which one, and up to how many operations nothing is illegal."""
    ended = shootdown(tmp_path, "prove", *LEGAL, "--memory", "1M", "--quiet")

    assert ended.code == 4
    assert ended.out.splitlines()[-1] == (
        "Undecided: the memory limit of 1 MiB was reached. Nothing illegal with up to 0 operations."
    )


def test_rules_that_do_not_count(tmp_path: Path) -> None:
    """With --rule, only violations of that rule count."""
    assert inside(tmp_path, "prove", *ILLEGAL, "--rule", "C2").code == 1
    assert inside(tmp_path, "prove", *ILLEGAL, "--rule", "C5", "--ops", "2").code == 0


def test_two_workers(tmp_path: Path) -> None:
    """The verdict is the same with several processes."""
    assert shootdown(tmp_path, "prove", *LEGAL, "--workers", "2").code == 0
    assert shootdown(tmp_path, "prove", *ILLEGAL, "--workers", "2").code == 1


def test_quiet(tmp_path: Path) -> None:
    """With --quiet only the verdict is printed."""
    ended = inside(tmp_path, "prove", *LEGAL, "--quiet")

    assert ended.out.startswith("\nScope: 2 CPUs, 1 page")
    assert "explored:" not in ended.out


BOUND = {
    "policy": "linux",
    "cpus": 2,
    "pages": 1,
    "ops": 2,
    "operations": ["read", "dontneed"],
    "layout": "private",
    "machine": [],
    "asids": 1,
    "batch": 1,
    "rules": [],
}
KEYS = {*BOUND, "version", "campaign", "scope", "verdict", "complete", "worlds", "transitions"} | {
    "seconds",
    "why",
    "finding",
    "db",
}


def test_json_of_a_legal_scope(tmp_path: Path) -> None:
    """The JSON has the bound as options, and the result of the proof."""
    shown = document(tmp_path, "prove", *LEGAL)

    assert shown.keys() == KEYS
    assert {key: shown[key] for key in BOUND} == BOUND
    assert (shown["verdict"], shown["complete"], shown["why"]) == ("legal", 2, "")
    assert shown["finding"] is None
    assert 0 < shown["worlds"] < shown["transitions"]


def test_json_of_an_illegal_scope(tmp_path: Path) -> None:
    """The finding comes with its scenario and the command that shows it."""
    shown = document(
        tmp_path, "prove", *ILLEGAL, "--machine", "stray-dirty", "--rule", "C2", code=1
    )
    finding = shown["finding"]

    assert shown.keys() == KEYS
    assert (shown["machine"], shown["rules"]) == (["stray-dirty"], ["C2"])
    assert finding.keys() == {"id", "rule", "reason", "operations", "scenario", "new", "replay"}
    assert (finding["rule"], finding["operations"], finding["new"]) == ("C2", 2, True)
    assert shown["complete"] == finding["operations"] - 1
    assert finding["replay"] == f"shootdown replay {finding['id']}"
    assert finding["scenario"].startswith("shootdown-scenario 1\n")


def test_json_is_alone_on_standard_output(tmp_path: Path) -> None:
    """With --json the progress goes to standard error."""
    ended = shootdown(tmp_path, "prove", *LEGAL, "--json")

    assert json.loads(ended.out)["verdict"] == "legal"
    assert "2 of 2 operations explored" in ended.err


# In the database.


def test_the_finding_is_stored(tmp_path: Path) -> None:
    """The counterexample is a finding like any other, and a second proof says that it is known."""
    shown = document(tmp_path, "prove", *ILLEGAL, code=1)
    again = document(tmp_path, "prove", *ILLEGAL, code=1)

    assert again["finding"] == shown["finding"] | {"new": False}
    assert inside(tmp_path, "replay", shown["finding"]["id"]).code == 1
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        (finding,) = list_findings(store)
        proofs = list_proofs(store)
    assert finding.id == shown["finding"]["id"]
    assert finding.campaigns == 2
    assert [proof.finding for proof in proofs] == [finding.key] * 2


def test_proofs_are_listed(tmp_path: Path) -> None:
    """`findings query proofs` has one row for each proof, the newest first."""
    inside(tmp_path, "prove", *LEGAL)
    shown = document(tmp_path, "prove", *ILLEGAL, code=1)

    rows = document(tmp_path, "findings", "query", "proofs")

    assert [(row["policy"], row["verdict"], row["operations"]) for row in rows] == [
        ("v1", "illegal", 1),
        ("linux", "legal", 2),
    ]
    assert [row["finding"] for row in rows] == [shown["finding"]["id"], None]
    assert rows[1]["scope"].startswith("2 CPUs, 1 page")


def test_a_proof_is_a_campaign(tmp_path: Path) -> None:
    """The campaign of a proof has the engine prove, its bound as limits, and has finished."""
    shown = document(tmp_path, "prove", *LEGAL)

    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        (stored,) = list_campaigns(store)
    campaign = stored.campaign
    assert (campaign.name, campaign.engine, stored.status) == (
        shown["campaign"],
        "prove",
        "finished",
    )
    assert campaign.limits == {key: value for key, value in BOUND.items() if key != "policy"}


# Wrong usage.


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "Missing option '--policy'"),
        (("--policy", "v9"), "There is no policy 'v9'"),
        (
            ("--policy", "v1", "--operations", "read,sleep"),
            "'sleep' is no operation; there are read,",
        ),
        (("--policy", "v1", "--operations", ""), "'' is no operation"),
        (
            ("--policy", "v1", "--memory", "much"),
            "is not an amount of memory above zero such as 512M",
        ),
        (("--policy", "v1", "--memory", "0"), "is not an amount of memory above zero"),
        (("--policy", "v1", "--memory", "1T"), "is not an amount of memory above zero"),
        (("--policy", "v1", "--for", "soon"), "is not a time above zero"),
        (("--policy", "v1", "--cpus", "9"), "Invalid value for '--cpus'"),
        (("--policy", "v1", "--ops", "0"), "Invalid value for '--ops'"),
        (("--policy", "v1", "--rule", "C9"), "Invalid value for '--rule'"),
        (("--policy", "v1", "--checkpoint", "."), "is a directory"),
        (
            ("--policy", "v1", "--checkpoint", "no/such/c"),
            "The checkpoint no/such/c cannot be written: the folder no/such does not exist.",
        ),
        (("--policy", "v1", "--db", "no/such/folder.db"), "folder no/such does not exist"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: tuple[str, ...], sentence: str) -> None:
    """Wrong usage is one sentence and exit code 2, and leaves no database behind."""
    assert sentence in complaint(tmp_path, "prove", *options)
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_checkpoint(tmp_path: Path) -> None:
    """A file that is no checkpoint is refused, and stays as it was."""
    (tmp_path / "notes").write_text("mine")

    line = complaint(tmp_path, "prove", *LEGAL, "--checkpoint", "notes")

    assert line == "shootdown: notes is no checkpoint of a proof."
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_checkpoint_of_another_scope(tmp_path: Path) -> None:
    """A proof does not go on from the checkpoint of another proof."""
    stopped = inside(tmp_path, "prove", *LONG, "--checkpoint", "c", "--for", "0.001s")
    before = (tmp_path / "c").read_bytes()

    line = complaint(tmp_path, "prove", *LONG, "--layout", "shared", "--checkpoint", "c")

    assert stopped.code == 4
    assert line == (
        "shootdown: The checkpoint c is of another proof: its layout is private, here it is shared."
    )
    assert (tmp_path / "c").read_bytes() == before


def test_a_checkpoint_that_cannot_be_written(tmp_path: Path) -> None:
    """If the checkpoint cannot be kept, one sentence says so."""
    (tmp_path / "c.new").mkdir()
    ended = inside(tmp_path, "prove", *LEGAL, "--quiet", "--checkpoint", "c", "--for", "0.001s")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err == ("shootdown: The checkpoint c cannot be written: Is a directory.\n")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_policy_that_raises(tmp_path: Path, workers: str) -> None:
    """A rule that raises in the middle of a proof is one sentence with its line, whichever process it happens in."""
    (tmp_path / "mine.py").write_text(
        "def needs_flush(old, new):\n"
        "    if old & 64 and not new & 2:\n        raise ValueError('no')\n    return True\n"
    )

    ended = shootdown(
        tmp_path,
        "prove",
        "--policy",
        "mine.py",
        "--pages",
        "1",
        "--ops",
        "2",
        "--operations",
        "write,mprotect",
        "--workers",
        workers,
    )

    assert ended.code == 2
    assert ended.err.endswith("shootdown: mine.py, line 3: ValueError: no.\n")


def test_a_policy_with_a_memory(tmp_path: Path) -> None:
    """A counterexample that does not show the same again is a failure of the harness: exit code 3, and no finding."""
    (tmp_path / "mine.py").write_text(
        "calls = 0\n\ndef needs_flush(old, new):\n    global calls\n    calls += 1\n    return calls % 3 == 0\n"
    )

    ended = shootdown(
        tmp_path,
        "prove",
        "--policy",
        "mine.py",
        *ONE,
        "--ops",
        "3",
        "--operations",
        "write,mprotect",
    )

    assert ended.code == 3
    assert "A policy must be a pure function" in ended.err
    assert inside(tmp_path, "findings", "list").out == "No findings.\n"


# Interruptions.


def test_a_time_limit_and_on(tmp_path: Path) -> None:
    """A proof that met its time limit goes on with the same command, and ends as if it had not been stopped."""
    whole = document(tmp_path, "prove", *LEGAL)
    options = (*LEGAL, "--checkpoint", "c")

    stopped = inside(tmp_path, "prove", *options, "--for", "0.001s")
    assert stopped.code == 4
    assert stopped.out.splitlines()[-1] == "The same command goes on from c."
    assert "Undecided: the time limit was reached." in stopped.out
    ended = document(tmp_path, "prove", *options)

    assert (ended["worlds"], ended["transitions"]) == (whole["worlds"], whole["transitions"])
    assert not (tmp_path / "c").exists()


def begun(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Return a proof that has explored its first operation."""
    process = subprocess.Popen(
        [SHOOTDOWN, "prove", *options],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith("1 of "):
            return process
    raise AssertionError(process.wait())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_interrupt_and_on(tmp_path: Path, workers: str) -> None:
    """Ctrl-C keeps what was explored: exit code 4, and the same command goes on and finishes."""
    options = (*LONG, "--workers", workers, "--checkpoint", "c")
    process = begun(tmp_path, *options)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)

    assert process.returncode == 4, out
    assert "Undecided: interrupted." in out
    assert "Traceback" not in out
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        assert [stored.status for stored in list_campaigns(store)] == ["interrupted"]

    ended = shootdown(tmp_path, "prove", *options)
    assert ended.code == 0
    assert "\nGoing on with c: " in ended.out
    assert not (tmp_path / "c").exists()


def test_killed(tmp_path: Path) -> None:
    """After `kill -9` the database can be read, the campaign is marked, and no process is left."""
    process = begun(tmp_path, *LONG, "--workers", "2")
    process.kill()
    process.wait()

    wait_until(lambda: group_is_gone(process.pid))
    assert process.stdout
    process.stdout.close()
    ended = inside(tmp_path, "findings", "query", "proofs")
    assert ended.code == 0
    assert "is now marked as interrupted" in ended.err
    assert inside(tmp_path, "prove", *LEGAL).code == 0
