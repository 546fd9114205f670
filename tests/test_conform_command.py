"""The command `shootdown conform --live`, and how its driver ends."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shootdown.conform.live.build import compile_driver
from shootdown.conform.live.commands import Command
from shootdown.conform.live.driver import Driver, DriverFailed
from shootdown.system.unusable import Unusable
from tests.command import SHOOTDOWN, complaint, group_is_gone, inside, through, wait_until

if platform.system() != "Linux" or platform.machine() != "x86_64":
    pytest.skip("the driver is for Linux on x86-64", allow_module_level=True)


def test_a_driver_that_is_killed(driver: Driver) -> None:
    """The next program reports it."""
    os.killpg(driver.pid, signal.SIGKILL)

    with pytest.raises(DriverFailed, match="signal 9"):
        driver.run([Command("RESET", 0, 0)], large=False)


def test_a_driver_that_hangs(driver_program: Path) -> None:
    """It is given up after a while, and nothing of it remains."""
    with Driver(driver_program, patience=0.5) as driver:
        os.kill(driver.pid, signal.SIGSTOP)
        with pytest.raises(DriverFailed, match="said nothing"):
            driver.run([Command("RESET", 0, 0)], large=False)

    wait_until(lambda: group_is_gone(driver.pid))


def test_nothing_is_left_when_its_user_is_killed(driver_program: Path, tmp_path: Path) -> None:
    """A driver whose standard input ends, ends with all its processes."""
    file = tmp_path / "file"
    file.touch()
    process = subprocess.Popen(
        [driver_program, file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.read(16)
    process.stdin.close()
    process.wait(30)
    process.stdout.close()

    wait_until(lambda: group_is_gone(process.pid))


@pytest.mark.parametrize(
    ("compiler", "says"),
    [
        ("no-such-compiler", "cannot be used"),
        ("false", "does not compile the driver"),
        ("true", "does not compile the driver"),
        ('"', "CC is no command"),
    ],
)
def test_no_compiler(
    compiler: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence says what is missing."""
    monkeypatch.setenv("CC", compiler)

    with pytest.raises(Unusable, match=says):
        compile_driver(tmp_path)
    assert says in complaint(tmp_path, "conform", "--live")


def test_the_command(tmp_path: Path) -> None:
    """It says what it compared, stores it, and ends with 0 where all agrees."""
    limits = ("--for", "20s", "--sequences", "20", "--rounds", "2")
    ended = inside(tmp_path, "conform", "--live", *limits)

    assert ended.code == 0, ended
    assert "No disagreement that is not explained." in ended.out
    assert all(len(line) <= 120 for line in ended.out.splitlines())
    assert "live" in inside(tmp_path, "findings", "query", "comparisons").out


def test_a_disagreement_is_stored_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a wrong handler shows is minimized, printed and in the database."""
    monkeypatch.setattr("shootdown.cli.conform.POLICY", "minimal-exec-check")
    ended = inside(
        tmp_path, "conform", "--live", "--part", "sequences", "--sequences", "100", "--seed", "1"
    )

    assert ended.code == 1, ended
    assert "exec p0" in ended.out
    assert "exec p0" in inside(tmp_path, "findings", "query", "disagreements").out


def test_the_machine_has_to_be_named(tmp_path: Path) -> None:
    """Without a machine there is nothing to compare with, and two machines are refused."""
    assert "--live" in complaint(tmp_path, "conform", "--live", "--machine", "qemu")
    assert "--live" in complaint(tmp_path, "conform")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--live", "--part", "races", "--sequences", "5"), "--sequences"),
        (("--live", "--part", "sequences", "--rounds", "5"), "--rounds"),
        (("--live", "--mode", "exact"), "--mode"),
        (("--machine", "qemu", "--rounds", "5"), "--rounds"),
    ],
)
def test_limits_of_parts_that_do_not_run(
    options: tuple[str, ...], word: str, tmp_path: Path
) -> None:
    """A limit of another part is a mistake."""
    assert word in complaint(tmp_path, "conform", *options)


def test_nothing_compared_is_no_agreement(tmp_path: Path) -> None:
    """Without time for a single sequence the command says so, and ends with 2."""
    ended = inside(tmp_path, "conform", "--live", "--part", "sequences", "--for", "0.000001s")

    assert ended.code == 2
    assert ended.out.splitlines()[-1] == "Nothing was compared."
    assert "No disagreement" not in ended.out


def test_a_system_that_refuses_processes(tmp_path: Path) -> None:
    """If the host refuses what the driver asks for, that is no disagreement: the command ends with 2, and says what is
    refused.
    """
    limited = ("bash", "-c", 'ulimit -f 100 && exec "$0" "$@"')
    ended = through(limited, tmp_path, "conform", "--live", "--part", "sequences")

    assert ended.code == 2, ended
    assert "disagreement" not in ended.out.replace("No disagreement", "")


def test_the_command_with_qemu(tmp_path: Path) -> None:
    """It says what it compared and what QEMU does differently, and stores both."""
    ended = inside(tmp_path, "conform", "--machine", "qemu", "--sequences", "30", "--seed", "1")

    assert ended.code == 0, ended
    assert ended.out.splitlines()[-1] == "No disagreement."
    assert "30 sequences" in ended.out
    assert "unicorn" in inside(tmp_path, "findings", "query", "comparisons").out


def test_no_unicorn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says which extra is missing, and no database is made."""
    monkeypatch.setitem(sys.modules, "unicorn", None)

    assert "unicorn" in complaint(tmp_path, "conform", "--machine", "qemu")
    assert list(tmp_path.iterdir()) == []


def test_one_cpu(tmp_path: Path) -> None:
    """The sequences run on one CPU, and the command says that the rest is left out."""
    pinned = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
    ended = through(pinned, tmp_path, "conform", "--live", "--sequences", "5")

    assert ended.code == 0, ended
    assert "a second CPU" in ended.out


def test_ctrl_c_ends_it_with_what_it_has(tmp_path: Path) -> None:
    """An interrupted comparison says what was compared, and leaves no folder behind."""
    with subprocess.Popen(
        [SHOOTDOWN, "conform", "--live", "--part", "sequences", "--for", "100s"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "Linux" in process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()

    assert process.returncode == 0
    assert "No disagreement that is not explained up to there." in out
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
