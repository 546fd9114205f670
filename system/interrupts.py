"""Signals that ask a campaign to end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """How often Ctrl-C, SIGTERM or a closed terminal has asked for an end; a loop looks at `count`."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count while the block runs; afterwards the signals mean what they did before.

        Outside the main thread nothing is counted: Python handles signals in the main thread alone.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._one_more) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _one_more(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
