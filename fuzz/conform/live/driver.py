"""The driver as a process: it gets programs and returns what each command showed."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fuzz.conform.live.commands import (
    ENDED,
    HELLO,
    REQUEST,
    RESULT,
    VERSION,
    Command,
    Result,
    result_of,
)
from fuzz.conform.unusable import Unusable

PATIENCE: Final = 60.0
"""Seconds without a word after which the driver hangs: a program takes a thousandth of one."""


class DriverFailed(Exception):
    """The driver died or hangs; the message is a sentence's end that says how."""


class Driver:
    """A running driver, killed with all that it has started when the context ends.

    `features` is a union of the HAS_ constants of commands, `cpus` how many it may use, `uffd_error` why there is no
    userfaultfd.
    """

    def __init__(
        self,
        program: Path,
        file: Path | None = None,
        tracefs: Path | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Start the program; `file` is what mappings of a file map, it is written to; `tracefs` is an empty folder, for
        the case that tracefs is mounted nowhere.

        Error: Unusable, when it does not start.
        """
        self.patience = patience
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
            raise Unusable(f"the driver {program} cannot be started: {error.strerror}.") from None
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
        """The controller's process, whose session is that of all that it starts."""
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
        """Return the results of a program, as many as commands were executed: all, or those before its death.

        `large`: a page of the program is a quarter of 2 MiB, so that huge pages fit. Error: DriverFailed.
        """
        request = REQUEST.pack(len(commands), large) + b"".join(c.packed() for c in commands)
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            self._process.stdin.write(request)
        except OSError:
            raise DriverFailed(self._why()) from None
        (ended,) = ENDED.unpack(self._receive(ENDED.size))
        data = self._receive(len(commands) * RESULT.size)
        return [result_of(data[i * RESULT.size : (i + 1) * RESULT.size]) for i in range(ended)]

    def _receive(self, length: int) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        descriptor = self._process.stdout.fileno()
        data = b""
        last = time.monotonic() + self.patience
        while len(data) < length:
            left = last - time.monotonic()
            ready, _, _ = select.select([descriptor], [], [], max(left, 0))
            if not ready:
                raise DriverFailed(f"it has said nothing for {self.patience:.0f} seconds")
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
