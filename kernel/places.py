"""Places in the text, for the addresses of its compiled code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shootdown.kernel.compiler import frames_of
from shootdown.kernel.text import KernelError

_PART: Final = (1 << 21) - 1
"""The bits of an address in a note about a decision (kernel/shim/machinery/core.c)."""


class Places:
    """The places of one library.

    `sources`: the files of the text, by their names in a tree.
    """

    def __init__(self, library: Path, sources: dict[str, str]) -> None:
        self._library = library
        self._lines = {name: content.splitlines() for name, content in sources.items()}
        self._known: dict[int, tuple[str, str]] = {}

    def of(self, codes: Sequence[int]) -> list[tuple[str, str]]:
        """Return the function and the place, as `file:line`, of each address; empty words if it is not known."""
        missing = [code for code in dict.fromkeys(codes) if code not in self._known]
        if missing:
            try:
                found = frames_of(self._library, missing)
            except KernelError:
                found = []
            for code, frames in zip(missing, found or [[]] * len(missing), strict=True):
                # What the shim defines is inlined into the text.
                of_text = [frame for frame in frames if self._is_text(frame[1])]
                self._known[code] = of_text[0] if of_text else ("", "")
        return [self._known[code] for code in codes]

    def named(self, code: int) -> str:
        """Return an address as "function, file:line", with the file's name alone; "" if it is not in the text."""
        return self._shown(*self.of([code])[0])

    def decided(self, packed: int) -> str:
        """Return the place of the decision after which the parts of a note about it have run, as `named` does."""
        parts = [packed >> 21 * i & _PART for i in range(3)]
        places = [place for place in self.of([part for part in parts if part]) if place[1]]
        # The compiler gives the common end of several returns one line.
        if (
            len(places) > 1
            and places[0][0] == places[1][0]
            and "return" in self._line(places[1][1])
        ):
            places.pop(0)
        return self._shown(*places[0]) if places else ""

    def _is_text(self, place: str) -> bool:
        return place.rpartition(":")[0] in self._lines

    def _shown(self, function: str, place: str) -> str:
        return f"{function}, {place.rpartition('/')[2]}" if self._is_text(place) else ""

    def _line(self, place: str) -> str:
        name, _, number = place.rpartition(":")
        lines = self._lines[name]
        return lines[int(number) - 1] if number.isdecimal() and int(number) <= len(lines) else ""
