"""Sets of pages as bit masks, split by the page tables that cover them."""

from typing import Final

from shootdown.machine.geometry import FANOUT, PAGES, TABLES

WHOLE_TABLE: Final = (1 << FANOUT) - 1
ALL_PAGES: Final = (1 << PAGES) - 1


def mask_of(first: int, count: int) -> int:
    """Return the mask of `count` pages from `first`."""
    return ((1 << count) - 1) << first


_BY_TABLE = tuple(
    tuple((i, part) for i in range(TABLES) if (part := mask >> i * FANOUT & WHOLE_TABLE))
    for mask in range(1 << FANOUT * TABLES)
)
_PAGES_IN = tuple(
    tuple(i for i in range(FANOUT) if mask >> i & 1) for mask in range(WHOLE_TABLE + 1)
)


def by_table(mask: int) -> tuple[tuple[int, int], ...]:
    """Return (PMD index, mask of its pages) for each page table with pages of the mask, in ascending order."""
    return _BY_TABLE[mask]


def pages_in(mask: int) -> tuple[int, ...]:
    """Return the positions of the set bits of one table's mask, in ascending order."""
    return _PAGES_IN[mask]
