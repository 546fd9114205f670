"""The part of x86-64's address arithmetic that the simulation keeps.

A virtual page number is (PMD index, PTE index) and every entry has its architectural layout.
Only the first FANOUT of the 512 entries of each table are populated; the others stay absent for ever.
So eight pages suffice for two page tables and two leaves of 2 MiB, and FANOUT of the 512 pages of 4 KiB of such a leaf
are visible.
Physical memory is BLOCKS naturally aligned blocks of 2 MiB, again with FANOUT populated frames each, so that the
frame number of a huge leaf is aligned as the hardware demands (bits 13 to 20 are reserved, SDM table 4-18).
"""

from typing import Final

FANOUT: Final = 4
PAGES: Final = 8
PAGE_MASK: Final = PAGES - 1
"""The bits of a page's index."""
TABLES: Final = 2
"""PMD entries: each covers FANOUT pages."""
BLOCKS: Final = 16
FRAMES: Final = BLOCKS * FANOUT
FRAME_MASK: Final = FRAMES - 1
"""The bits of a frame's index."""

FRAME_BITS: Final[tuple[int, ...]] = tuple(
    (frame // FANOUT) << 21 | (frame % FANOUT) << 12 for frame in range(FRAMES)
)
"""FRAME_BITS[frame] is the frame number of `frame`, in its place in an entry."""


def frame_of(entry: int) -> int:
    """Return the index in 0..FRAMES-1 of the frame that `entry` points at."""
    return (entry >> 19) & 60 | (entry >> 12) & 3
