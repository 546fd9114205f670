"""The worlds that were seen, and with how few operations each, in memory that all worker processes share.

Open addressing, 8 bytes a slot: the hash of a world without its lowest 4 bits, which are the number of operations.
A world that is met again with fewer operations counts as new, because more operations can still follow. If two
processes write to one slot at once, one hash is lost and its world is explored twice: that costs work, not correctness.
Two worlds with one hash are taken for one: with n worlds the probability of this is about n^2 / 2^60.
"""

from collections.abc import Iterator
from mmap import mmap
from typing import Final

SLOT: Final = 8
"""Bytes."""
MOST: Final = 15
"""The largest number of operations."""


class Visited:
    """A map from hashes to the fewest operations, with a fixed number of slots."""

    def __init__(self, slots: int) -> None:
        """Make an empty map.

        `slots`: a power of two.
        """
        self.slots = slots
        self._mask = slots - 1
        self._map = mmap(-1, slots * SLOT)
        self._table = memoryview(self._map).cast("Q")

    def add(self, key: int, operations: int = 0) -> bool:
        """Note a world with that hash; return whether it was new, or known only with more operations.

        The lowest 4 bits of a hash are ignored, and the others must not all be 0.
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
        """Yield each hash with its number of operations in the lowest 4 bits, in no particular order."""
        for key in self._table:
            if key:
                yield key

    def close(self) -> None:
        """Give the memory back."""
        self._table.release()
        self._map.close()
