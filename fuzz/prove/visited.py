"""The set of worlds seen, as 64-bit hashes in memory that all worker processes share.

Open addressing, 8 bytes a slot.
Two processes that write to one slot at once lose one of the hashes, and its world is explored twice: work, not truth.
Two worlds of one hash are taken for one: with n worlds that has happened with a probability of about n^2 / 2^65.
"""

from collections.abc import Iterator
from mmap import mmap
from typing import Final

SLOT: Final = 8


class Visited:
    """A set of hashes other than 0 with room for a fixed number."""

    def __init__(self, slots: int) -> None:
        """`slots` is a power of two."""
        self.slots = slots
        self._mask = slots - 1
        self._map = mmap(-1, slots * SLOT)
        self._table = memoryview(self._map).cast("Q")

    def add(self, key: int) -> bool:
        """Add a hash; return whether it was new."""
        table = self._table
        at = key & self._mask
        while True:
            held = table[at]
            if held == key:
                return False
            if not held:
                table[at] = key
                return True
            at = at + 1 & self._mask

    def __iter__(self) -> Iterator[int]:
        """Yield all hashes, in no order that means anything."""
        for key in self._table:
            if key:
                yield key

    def close(self) -> None:
        """Give the memory back."""
        self._table.release()
        self._map.close()
