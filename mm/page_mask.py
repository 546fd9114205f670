"""Sets of pages as bit masks, split by the page table that covers them."""

from machine.geometry import FANOUT, TABLES

WHOLE_TABLE = (1 << FANOUT) - 1


def mask_of(first: int, count: int) -> int:
    """Return the mask of `count` pages from `first`."""
    return ((1 << count) - 1) << first


def by_table(mask: int) -> list[tuple[int, int]]:
    """Return (PMD index, mask of the pages under it) for each page table that the mask touches, ascending."""
    return [(i, part) for i in range(TABLES) if (part := mask >> i * FANOUT & WHOLE_TABLE)]


def pages_in(mask: int) -> list[int]:
    """Return the positions of the set bits of one table's mask, ascending."""
    return [i for i in range(FANOUT) if mask >> i & 1]
