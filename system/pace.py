"""How long work has taken, and how often a line about it is due."""

import time
from collections.abc import Callable
from typing import Final

LINE_SECONDS: Final = 5.0
"""Seconds between two plain lines."""


class Pace:
    """Says when the next line is due: LINE_SECONDS after the last one, or at first after the start."""

    def __init__(self) -> None:
        self.next = time.monotonic() + LINE_SECONDS

    def restart(self) -> None:
        """Make the next line due LINE_SECONDS from now."""
        self.next = time.monotonic() + LINE_SECONDS

    def due(self) -> bool:
        """Return whether a line is due; if so, the next one becomes due LINE_SECONDS from now."""
        now = time.monotonic()
        if now < self.next:
            return False
        self.next = now + LINE_SECONDS
        return True


def paced(write: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that writes the line it is given, if one is due."""
    pace = Pace()

    def tell(line: str) -> None:
        if pace.due():
            write(line)

    return tell


def duration(seconds: float) -> str:
    """Return `1:02:03` or `2:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
