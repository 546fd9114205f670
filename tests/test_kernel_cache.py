"""What the compiler of a kernel's text leaves over, and what it may use: nothing, and little."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from shootdown.kernel.cache import cached
from shootdown.kernel.limited import LARGEST_OUTPUT, TimedOut, run_limited
from shootdown.kernel.rule import rule_of
from shootdown.kernel.text import KernelError, text_at
from tests.command import group_is_gone, inside, wait_until
from tests.kernel_texts import RULE, tree


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test its own cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "shootdown" / "kernel"


BUILD = """
import sys, time
from pathlib import Path
from shootdown.kernel.cache import cached

def make(folder):
    (folder / "part").write_text("part")
    print("begun", flush=True)
    time.sleep(60)

cached({"a": "b"}, "part", make)
"""


def _made(folder: Path) -> None:
    (folder / "part").write_text("whole")


@pytest.mark.parametrize("ended", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_build_removes_an_unfinished_one(cache: Path, ended: signal.Signals) -> None:
    """What a build leaves over that was killed goes away with the next one, and is never a result."""
    with subprocess.Popen([sys.executable, "-c", BUILD], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(ended)
    assert len(list(cache.iterdir())) == 1
    made = cached({"a": "b"}, "part", _made)

    assert made.read_text() == "whole"
    assert list(cache.iterdir()) == [made.parent]


def test_a_build_that_goes_on_is_left_alone(cache: Path) -> None:
    """A build of another process that has not ended is not touched."""
    with subprocess.Popen([sys.executable, "-c", BUILD], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        cached({"a": "c"}, "part", _made)
        unfinished = list(cache.glob("unfinished-*/*/part"))
        process.kill()

    assert len(unfinished) == 1


def test_a_place_where_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache in a file system that is mounted noexec is one sentence, before anything is compiled."""
    mounted = SimpleNamespace(f_flag=os.ST_NOEXEC | os.ST_NOSUID)
    monkeypatch.setattr("shootdown.kernel.cache.os.statvfs", lambda path: mounted)  # noqa: ARG005
    ended = inside(tmp_path, "policies", f"c-rule:{tree(tmp_path / 'linux')}")

    assert ended.code == 2
    assert "nothing is executed: set XDG_CACHE_HOME" in ended.err


def test_a_wait_that_ends_takes_all_children_along(tmp_path: Path) -> None:
    """A program that does not end in time is killed with the processes that it has started."""
    with pytest.raises(TimedOut) as late:
        run_limited(["/bin/sh", "-c", "echo $$ >&2; sleep 60 & wait"], tmp_path, seconds=1)

    wait_until(lambda: group_is_gone(int(late.value.err)))


WAIT = """
import sys
from pathlib import Path
from shootdown.kernel.limited import run_limited

run_limited(["/bin/sh", "-c", "echo $$ > pid; (while :; do :; done)"], Path(sys.argv[1]))
"""


def test_a_program_ends_with_the_process_that_waits(tmp_path: Path) -> None:
    """After SIGKILL of the process that waits for a compiler nothing of the compiler runs on, children neither."""
    written = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", WAIT, str(tmp_path)]) as process:
        wait_until(lambda: written.exists() and bool(written.read_text()))
        process.kill()

    wait_until(lambda: group_is_gone(int(written.read_text())))


def test_nothing_is_left_after_a_program(tmp_path: Path) -> None:
    """A program that has ended leaves no process, not even one that it has started and not waited for."""
    ended = run_limited(["/bin/sh", "-c", "sleep 60 & echo $$"], tmp_path)

    wait_until(lambda: group_is_gone(int(ended.out)))


def test_processor_time_is_limited(tmp_path: Path) -> None:
    """A program that nobody waits for any longer ends by itself: the limit is the system's."""
    begun = time.process_time_ns()
    ended = run_limited(
        ["/bin/sh", "-c", "ulimit -t; ulimit -v; ulimit -f; ulimit -t 1; while :; do :; done"],
        tmp_path,
    )

    assert ended.out.split() == ["61", str(4 << 20), str(64 << 11)]
    assert ended.code in (-signal.SIGXCPU, -signal.SIGKILL)
    assert time.process_time_ns() - begun < 1_000_000_000


def test_what_is_printed_is_limited(tmp_path: Path) -> None:
    """A program that prints without end, as the preprocessor can, fills neither the memory nor the disk."""
    ended = run_limited(["/bin/sh", "-c", "exec cat /dev/zero"], tmp_path)

    assert ended.code == -signal.SIGXFSZ
    assert len(ended.out) == LARGEST_OUTPUT


def test_a_rule_that_cannot_be_loaded_is_a_sentence(tmp_path: Path, cache: Path) -> None:
    """A rule with more data than a process may have is refused, not loaded here."""
    text = "static char big[1UL << 33] = { 1 };\n" + RULE.replace(
        "return false", "return big[old.pte & 7]"
    )
    with pytest.raises(KernelError):
        rule_of(text_at(tree(tmp_path / "linux", text)))

    assert not list(cache.iterdir())
