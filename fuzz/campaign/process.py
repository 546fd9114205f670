"""The parent's side of one worker process."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, cast

from shootdown import form
from shootdown.fuzz.campaign.job import Job
from shootdown.fuzz.campaign.messages import Message, Progress, decode_message
from shootdown.fuzz.engines.registry import ENGINES

_READ_SIZE: Final = 1 << 16
_LOG_TAIL: Final = 4096
_END_SECONDS: Final = 5.0


@dataclass
class WorkerProcess:
    """A running worker: its number in the campaign, and its last message.

    `heard`: the time (monotonic) of its last message.
    `over`: set after the worker has said that it ends as intended.
    """

    number: int
    job: Job
    process: subprocess.Popen[bytes]
    orders: IO[bytes]
    answers: IO[bytes]
    log: Path
    heard: float
    progress: Progress = field(default_factory=Progress)
    over: bool = False
    buffer: bytes = b""

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        return self.process.pid

    def fileno(self) -> int:
        """Return the descriptor on which messages arrive."""
        return self.answers.fileno()

    def messages(self) -> list[Message] | None:
        """Return the messages that have arrived; None when the worker has closed its end.

        It blocks if there are none.
        Errors: ValueError when a line is not a message.
        """
        data = os.read(self.fileno(), _READ_SIZE)
        if not data:
            return None
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        self.heard = time.monotonic()
        return [decode_message(line) for line in lines]

    def stop(self) -> None:
        """Ask the worker to end."""
        with contextlib.suppress(BrokenPipeError):
            self.orders.close()

    def kill(self) -> None:
        """End the worker and everything that it has started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def reap(self) -> str:
        """Wait for the end of a worker that has closed its pipe; return how it ended, in words."""
        self.stop()
        try:
            status = self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            status = self.process.wait()
        self.answers.close()
        how = f"exit code {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
        last = self.last_words()
        return f"{how}: {last}" if last else how

    def last_words(self) -> str:
        """Return the last line of the worker's log that is not part of libFuzzer's own report."""
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LOG_TAIL))
            lines = log.read().decode(errors="replace").split("\n")
            said = (line.strip() for line in reversed(lines) if not line.startswith("INFO:"))
            return next(filter(None, said), "")
        return ""


def _form_for(engine: str) -> dict[str, str]:
    """Return the part of a worker's environment that chooses the form of the models: compiled ones have no bytecode."""
    return {form.VARIABLE: "1"} if ENGINES[engine].instrumented else {}


def start_worker(number: int, job: Job, scratch: Path) -> WorkerProcess:
    """Start a worker without forking this process; its log and its temporary files are created in `scratch`.

    The worker has its own session, so that Ctrl-C reaches only the parent.
    """
    log = scratch / f"worker{number}.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            # -P: a folder named shootdown in the user's current folder is not this package.
            [sys.executable, "-P", "-m", "shootdown.fuzz.campaign.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"TMPDIR": str(scratch)} | _form_for(job.engine),
            start_new_session=True,
        )
    orders, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    with contextlib.suppress(BrokenPipeError):
        orders.write(job.line())
        orders.flush()
    return WorkerProcess(number, job, process, orders, answers, log, time.monotonic())
