"""The huge zero page: 2 MiB of zeros that read faults of huge regions map, one for the whole system.

The first fault that needs it allocates it. It has a reference for each entry that maps it, and one more of its own; the
shrinker frees it when only that one is left (mm.shrink). So an entry that is removed must keep its reference until no
TLB has the entry any more (aa88b68c3b1d).
The references are those of v3.8 to v4.8. Since 6fcb52a56ff6 an address space takes one and keeps it to its end, and
none depends on a flush.
"""

from shootdown.machine.entry import PSE
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.frames import alloc_huge, get_page, put_page
from shootdown.mm.state import NO_HUGE_ZERO
from shootdown.mm.world import World


def is_huge_zero(w: World, pmd: int) -> bool:
    """Return whether an entry of a PMD table is a leaf that maps the huge zero page (is_huge_zero_pmd)."""
    return w.huge_zero >= 0 and bool(pmd & PSE) and frame_of(pmd) == w.huge_zero


def of_huge_zero(w: World, frame: int) -> bool:
    """Return whether the frame is part of the huge zero page (is_huge_zero_folio)."""
    return w.huge_zero >= 0 and frame // FANOUT == w.huge_zero // FANOUT


def get_huge_zero(w: World) -> int:
    """Return the first frame of the huge zero page, with a reference for a mapping; -1 if it is not used, or if no
    block is free for it.
    """
    if w.huge_zero == NO_HUGE_ZERO:
        return -1
    if w.huge_zero < 0:
        first = alloc_huge(w)
        if first < 0:
            return -1
        w.huge_zero = first
        w.observer.zeros(first, FANOUT)
    for frame in range(w.huge_zero, w.huge_zero + FANOUT):
        get_page(w, frame)
    return w.huge_zero


def put_huge_zero(w: World) -> None:
    """Drop the reference of a mapping that no TLB has any more; the page's own reference is left."""
    for frame in range(w.huge_zero, w.huge_zero + FANOUT):
        put_page(w, frame)
