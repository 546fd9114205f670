"""The worlds seen and with how few operations each, in memory that all worker processes share.

Open addressing, 8 bytes a slot: the hash of a world without its lowest 4 bits, which are the number of operations.
A world that is met again with fewer operations is new again, because more can still follow.
Two processes that write to one slot at once lose one of the hashes, and its world is explored twice: work, not truth.
Two worlds of one hash are taken for one: with n worlds that has happened with a probability of about n^2 / 2^60.
"""

from collections.abc import Iterator
from mmap import mmap
from typing import Final

SLOT: Final = 8
"""Bytes."""
MOST: Final = 15
"""The largest number of operations."""


class Visited:
    """A map from hashes to the fewest operations, with room for a fixed number."""

    def __init__(self, slots: int) -> None:
        """`slots` is a power of two."""
        self.slots = slots
        self._mask = slots - 1
        self._map = mmap(-1, slots * SLOT)
        self._table = memoryview(self._map).cast("Q")

    def add(self, key: int, operations: int = 0) -> bool:
        """Note a world of that hash; return whether it was not known with as few operations.

        The lowest 4 bits of a hash are not looked at, and the others are not all 0.
        """
        table = self._table
        entry = key & ~MOST | operations
        at = key >> 4 & self._mask
        while True:
            held = table[at]
            if not held or held & ~MOST == entry & ~MOST:
                if held and held <= entry:
                    return False
                table[at] = entry
                return True
            at = at + 1 & self._mask

    def __iter__(self) -> Iterator[int]:
        """Yield each hash with its number of operations as the lowest 4 bits, in no order that means anything."""
        for key in self._table:
            if key:
                yield key

    def close(self) -> None:
        """Give the memory back."""
        self._table.release()
        self._map.close()
