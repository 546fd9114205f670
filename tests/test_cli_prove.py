"""`shootdown prove`: verdicts, exit codes, and what is kept."""

import json
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fuzz.store import list_campaigns, list_proofs, open_store
from tests.command import SHOOTDOWN, complaint, inside, shootdown

SMALL = ("--pages", "1", "--ops", "2", "--operations", "read,mprotect,exec", "--workers", "1")
LONG = ("--ops", "4", "--operations", "read,write,mprotect", "--workers", "2", "--pages", "1")
DB = "findings.db"


def test_legal(tmp_path: Path) -> None:
    """Nothing illegal in the scope ends with 0, says what the scope is, and keeps the verdict."""
    ended = shootdown(tmp_path, "prove", "--policy", "linux", *SMALL)

    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "No illegal outcome in this scope."
    assert "2 CPUs, 1 page (private, 1 ASID, batch 1), up to 2 operations of" in ended.out
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        (proof,) = list_proofs(store)
        (campaign,) = list_campaigns(store)
    assert (proof.verdict, proof.complete, proof.finding) == ("legal", 2, None)
    assert (campaign.campaign.engine, campaign.status) == ("prove", "finished")


def test_illegal(tmp_path: Path) -> None:
    """A counterexample ends with 1 and is a finding like any other, which the last line replays."""
    ended = shootdown(tmp_path, "prove", "--policy", "v1", *SMALL)
    replay = ended.out.splitlines()[-1].removeprefix("Replay: ")

    assert ended.code == 1
    assert "Illegal: C2 denied-though-allowed with 2 operations, and none with fewer." in ended.out
    assert inside(tmp_path, *shlex.split(replay)[1:]).code == 1
    listed = shootdown(tmp_path, "findings", "query", "proofs", "--json")
    (row,) = json.loads(listed.out)
    assert (row["policy"], row["verdict"]) == ("v1", "illegal")
    assert row["finding"] in replay


def test_json(tmp_path: Path) -> None:
    """The verdict as JSON, with the scope as options and the finding."""
    ended = shootdown(tmp_path, "prove", "--policy", "v1", *SMALL, "--json")
    shown = json.loads(ended.out)

    assert ended.code == 1
    assert (shown["policy"], shown["verdict"], shown["cpus"], shown["ops"]) == (
        "v1",
        "illegal",
        2,
        2,
    )
    assert shown["operations"] == ["read", "mprotect", "exec"]
    assert shown["finding"]["rule"] == "C2"
    assert shown["finding"]["operations"] == 2


def test_undecided_and_on(tmp_path: Path) -> None:
    """At a limit the exit code is 4; the same command goes on, and the checkpoint goes when it has ended."""
    command = ("prove", "--policy", "linux", *SMALL, "--checkpoint", "proof")
    first = shootdown(tmp_path, *command, "--for", "0.001s")

    assert first.code == 4
    assert "Undecided: the time limit was reached." in first.out
    assert "The same command goes on from proof." in first.out
    second = shootdown(tmp_path, *command)
    assert second.code == 0
    assert "Going on with proof: " in second.out
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--policy", "linux", "--operations", "wirte"], "'wirte' is no operation"),
        (["--policy", "lnux"], "Did you mean linux"),
        (["--policy", "linux", "--memory", "0"], "is not an amount of memory"),
        (["--policy", "linux", "--cpus", "9"], "--cpus"),
        (["--policy", "linux", "--checkpoint", "other"], "other is no checkpoint of a proof."),
        ([], "--policy"),
    ],
)
def test_unusable(tmp_path: Path, options: list[str], sentence: str) -> None:
    """One sentence, exit code 2, and no database."""
    (tmp_path / "other").write_text("a text")

    assert sentence in complaint(tmp_path, "prove", *options)
    assert not (tmp_path / DB).exists()


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends the proof undecided with its checkpoint, and the campaign as interrupted."""
    command: list[str | Path] = [
        SHOOTDOWN,
        "prove",
        "--policy",
        "linux",
        *LONG,
        "--checkpoint",
        "proof",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=60)

    assert running.returncode == 4, out
    assert "Undecided: interrupted." in out
    assert (tmp_path / "proof").exists()
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        assert [stored.status for stored in list_campaigns(store)] == ["interrupted"]


def test_kill(tmp_path: Path) -> None:
    """After kill -9 the database can be read, and the next command says what happened."""
    command: list[str | Path] = [SHOOTDOWN, "prove", "--policy", "linux", *LONG]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.readline()
        time.sleep(0.5)
        running.kill()

    listed = shootdown(tmp_path, "findings", "query", "proofs")
    assert listed.code == 0
    with open_store(tmp_path / DB, create=False, readonly=True) as store:
        assert list_proofs(store) == []
        assert [stored.status for stored in list_campaigns(store)] == ["interrupted"]
