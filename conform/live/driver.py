"""The driver as a process: it gets programs and returns what each command showed."""

import contextlib
import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from shootdown.conform.live.commands import (
    ENDED,
    FAILED,
    HELLO,
    REFUSED,
    REQUEST,
    RESULT,
    STARVED,
    VERSION,
    Command,
    Result,
    result_of,
)
from shootdown.system.unusable import Unusable

PATIENCE: Final = 60.0
"""Seconds of silence after which the driver counts as hung: a program takes a thousandth of a second."""


LOOK_SECONDS: Final = 2.0
"""Seconds that the driver may be silent after the comparison was told to stop."""


class Runs(Protocol):
    """Runs programs: a Driver, or something in its place."""

    @property
    def cpus(self) -> int:
        """Return how many CPUs it may use."""

    @property
    def features(self) -> int:
        """Return a union of the HAS_ constants of commands."""

    def run(self, commands: Sequence[Command], *, large: bool) -> list[Result]:
        """Run a program as Driver.run does."""


class DriverFailed(Exception):
    """The driver died or hangs; the message ends a sentence and says how."""


class ProcessKilled(DriverFailed):
    """A process of the program ended that should not; `results` are those of the commands before that."""

    def __init__(self, why: str, results: list[Result]) -> None:
        super().__init__(why)
        self.results = results


class Driver:
    """A running driver; when the context ends, it is killed with everything that it has started.

    `features`: a union of the HAS_ constants of commands.
    `cpus`: how many CPUs it may use.
    `uffd_error`: why there is no userfaultfd.
    `stop`: it is called while the driver is silent; when it returns True, the driver is given up.
    """

    def __init__(
        self,
        program: Path,
        file: Path | None = None,
        tracefs: Path | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Start the program.

        `file`: the file that mappings of a file map; it is written to.
        `tracefs`: an empty folder, for the case that tracefs is mounted nowhere.
        Errors: Unusable, when it does not start.
        """
        self.patience = patience
        self.stop: Callable[[], bool] = lambda: False
        arguments = [str(program), str(file or ""), *([str(tracefs)] if tracefs else [])]
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise Unusable(
                f"the driver {program} cannot be started: {error.strerror}; TMPDIR names another folder."
            ) from None
        try:
            version, self.cpus, self.features, self.uffd_error = HELLO.unpack(
                self._receive(HELLO.size)
            )
        except DriverFailed as error:
            self.close()
            raise Unusable(f"the driver does not start: {error}.") from None
        if version != VERSION:
            self.close()
            raise Unusable(f"the driver {program} is of another version ({version:#x}).")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Return the process of the controller, whose session includes everything that it starts."""
        return self._process.pid

    def close(self) -> None:
        """Kill the driver with all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        self._process.wait()

    def run(self, commands: Sequence[Command], *, large: bool) -> list[Result]:
        """Return the results of a program, one for each command.

        `large`: a page of the program is a quarter of 2 MiB, so that huge pages fit.
        Errors: ProcessKilled, when one of its processes was killed; DriverFailed.
        """
        request = REQUEST.pack(len(commands), large) + b"".join(c.packed() for c in commands)
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            self._process.stdin.write(request)
        except OSError:
            raise DriverFailed(self._why()) from None
        ended, why = ENDED.unpack(self._receive(ENDED.size))
        data = self._receive(len(commands) * RESULT.size)
        results = [result_of(data[i * RESULT.size : (i + 1) * RESULT.size]) for i in range(ended)]
        for command, result in zip(commands, results, strict=False):
            starved = result.error == errno.ENOMEM and command.operation in STARVED
            if result.status == FAILED and (starved or result.error in REFUSED):
                raise DriverFailed(f"{command.operation} is refused: {os.strerror(result.error)}")
        if ended < len(commands):
            raise ProcessKilled(why.rstrip(b"\0").decode(errors="replace"), results)
        return results

    def _receive(self, length: int) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        descriptor = self._process.stdout.fileno()
        data = b""
        last = time.monotonic() + self.patience
        while len(data) < length:
            left = last - time.monotonic()
            ready, _, _ = select.select([descriptor], [], [], max(min(left, LOOK_SECONDS), 0))
            if not ready:
                if left <= LOOK_SECONDS:
                    raise DriverFailed(f"it has said nothing for {self.patience:g} seconds")
                if self.stop():
                    raise DriverFailed("it did not answer any more when it was told to stop")
                continue
            part = os.read(descriptor, length - len(data))
            if not part:
                raise DriverFailed(self._why())
            data += part
        return data

    def _why(self) -> str:
        code = self._process.wait()
        assert self._process.stderr is not None  # noqa: S101 - it is a pipe
        os.set_blocking(self._process.stderr.fileno(), False)
        said = (self._process.stderr.read() or b"").decode(errors="replace").strip()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"it ended with {how}" + (f" ({said.splitlines()[0]})" if said else "")
