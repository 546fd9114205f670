"""The small integers that the key of a world is made of, and the bytes that they become."""

from struct import Struct, error
from typing import Final

from shootdown.machine.geometry import FRAME_BITS, FRAMES, frame_of
from shootdown.mm.step import TAKES

_NO_FRAME: Final = ~FRAME_BITS[FRAMES - 1]
_FLAGS: Final[dict[int, int]] = {}
"""What `_flags_of` has returned: to look it up is faster than arithmetic beyond 63 bits."""

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
"""By the code of a step, what its arguments are; [] when all are written as they are."""
_PACKED: Final = [Struct(f"<{count}i") for count in range(1024)]
"""By their number, how integers become bytes."""


def arguments_of(code: int) -> list[int]:
    """Return what the arguments of a step are."""
    while len(_ARGUMENTS) <= code:
        words = TAKES[len(_ARGUMENTS)]
        _ARGUMENTS.append([RENAMED.get(word, AS_IT_IS) for word in words])
    return _ARGUMENTS[code]


def flags_of(entry: int) -> int:
    """Return an entry that is not 0 as its flags, a mark, and its frame in the lowest 6 bits: never 0, and other
    integers for other entries. There are 26 bits if the entry has no strange flag.
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
    """Return integers as bytes: other bytes for other integers."""
    count = len(facts)
    try:
        return _PACKED[count].pack(*facts) if count < len(_PACKED) else _wide(facts)
    except error:
        return _wide(facts)


def _wide(facts: list[int]) -> bytes:
    return b"wide" + b",".join([b"%d" % fact for fact in facts])
