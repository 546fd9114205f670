"""The small integers from which the key of a world is made, and their form in bytes."""

from struct import Struct, error
from typing import Final

from shootdown.machine.geometry import FRAME_BITS, FRAMES, frame_of
from shootdown.mm.step import TAKES

_NO_FRAME: Final = ~FRAME_BITS[FRAMES - 1]
_FLAGS: Final[dict[int, int]] = {}
"""The results of `_flags_of`: a look-up is faster than arithmetic beyond 63 bits."""

AS_IT_IS: Final = 0
MM: Final = 1
CPU: Final = 2
FRAME: Final = 3
ENTRY: Final = 4
GENERATION: Final = 5
TABLE: Final = 6
RENAMED: Final = {
    "mm": MM,
    "cpu": CPU,
    "frame": FRAME,
    "entry": ENTRY,
    "generation": GENERATION,
    "table": TABLE,
}
_ARGUMENTS: Final[list[list[int]]] = []
"""For the code of a step, the kinds of its arguments; [] when all are written as they are."""
_PACKED: Final = [Struct(f"<{count}i") for count in range(1024)]
"""For a number of integers, how they become bytes."""


def arguments_of(code: int) -> list[int]:
    """Return the kinds of the arguments of a step."""
    while len(_ARGUMENTS) <= code:
        words = TAKES[len(_ARGUMENTS)]
        _ARGUMENTS.append([RENAMED.get(word, AS_IT_IS) for word in words])
    return _ARGUMENTS[code]


def flags_of(entry: int) -> int:
    """Return an entry that is not 0 as its flags, a mark, and its frame in the lowest 6 bits.

    The result is never 0, and differs for different entries. It has 26 bits if the entry has no unusual flag.
    """
    known = _FLAGS.get(entry, -1)
    if known < 0:
        known = _FLAGS[entry] = _flags_of(entry)
    return known


def _flags_of(entry: int) -> int:
    flags = entry & _NO_FRAME
    low, high = flags & 0xFFF, flags >> 57
    if low | high << 57 == flags:
        return ((high << 12 | low) << 1 | 1) << 6 | frame_of(entry)
    return flags << 7 | frame_of(entry)


def packed(facts: list[int]) -> bytes:
    """Return integers as bytes; different integers give different bytes."""
    count = len(facts)
    try:
        return _PACKED[count].pack(*facts) if count < len(_PACKED) else _wide(facts)
    except error:
        return _wide(facts)


def _wide(facts: list[int]) -> bytes:
    return b"wide" + b",".join([b"%d" % fact for fact in facts])
