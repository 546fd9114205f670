"""Programs that work on a text that is not trusted: each has limits, and does not outlast them or the one who waits."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple

SECONDS: Final = 60
"""The limit of the processor time of each process, and of the wait: a rule compiles in a tenth of a second, and
mm/mmu_gather.c in one; longer texts are no kernel's."""
MEMORY: Final = 4 << 30
"""The limit in bytes for the address space of each process."""
LARGEST_OUTPUT: Final = 64 << 20
"""The limit in bytes for each file that is written, and for what is printed."""
# The limits hold for the compiler's own children too. A shell sets them, because Python code may not run between fork
# and exec in a process with threads; POSIX counts a file in blocks of 512 bytes. A limit that is lower already stays.
# The shell's other child reads a pipe that has no writer as soon as this process has ended, however it ends, and kills
# the group: the compiler's children know nothing of this process.
_START: Final = """
{ ulimit -t "$1"; ulimit -v "$2"; ulimit -f "$3"; } 2>/dev/null
shift 3
exec 3<&0 </dev/null
{ read -r never <&3; kill -KILL 0; } &
exec 3<&-
exec "$@"
"""


class Ended(NamedTuple):
    """How a program ended, negative for a signal, and what it printed."""

    code: int
    out: str
    err: str


class TimedOut(Exception):
    """The time is over and the program with its children killed; `err` is what it had printed to standard error."""

    def __init__(self, err: str) -> None:
        super().__init__()
        self.err = err


def run_limited(command: Sequence[str], folder: Path, seconds: int = SECONDS) -> Ended:
    """Run a program in a folder, with limits and without the user's environment, and wait for its end.

    If this process is killed, the program and its children are killed too.
    Errors: TimedOut; OSError, when there is no shell.
    """
    # No environment variable of the user may add a path or an option.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TMPDIR": str(folder)}
    limits = [str(seconds + 1), str(MEMORY >> 10), str(LARGEST_OUTPUT >> 9)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, _lifeline() as alive:
        with subprocess.Popen(
            ["/bin/sh", "-c", _START, "sh", *limits, *command],
            cwd=folder,
            env=environment,
            stdin=alive,
            stdout=out,
            stderr=err,
            start_new_session=True,
        ) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise TimedOut(_printed(err)) from None
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
        return Ended(process.returncode, _printed(out), _printed(err))


@contextmanager
def _lifeline() -> Iterator[int]:
    """Give the end of a pipe whose other end is open until the block ends, or this process."""
    read, write = os.pipe()
    try:
        yield read
    finally:
        os.close(read)
        os.close(write)


def _printed(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(LARGEST_OUTPUT).decode("utf-8", "replace")
