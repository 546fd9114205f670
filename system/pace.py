"""How long work has taken, and how often it says so."""

import time
from collections.abc import Callable
from typing import Final

LINE_SECONDS: Final = 5.0
"""Between two plain lines."""


class Pace:
    """Says when the next line is due: LINE_SECONDS after the last one, the first LINE_SECONDS after the start."""

    def __init__(self) -> None:
        self.next = time.monotonic() + LINE_SECONDS

    def restart(self) -> None:
        """Let the next line be due LINE_SECONDS from now."""
        self.next = time.monotonic() + LINE_SECONDS

    def due(self) -> bool:
        """Return whether a line is due; if so, the next one is due LINE_SECONDS from now."""
        now = time.monotonic()
        if now < self.next:
            return False
        self.next = now + LINE_SECONDS
        return True


def paced(write: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that writes the line that it is given, if one is due."""
    pace = Pace()

    def tell(line: str) -> None:
        if pace.due():
            write(line)

    return tell


def duration(seconds: float) -> str:
    """Return ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
