"""The regions of each page, as the calls have made them.

A page's region is one integer: what accesses it allows (READ, WRITE, EXEC), its protection key, and flags; 0 is a hole.
A call that changes it takes effect at some instant between its begin and its return; until it has returned, the program
may still meet the region that was there before. Such calls exclude one another (mmap_lock for writing), so the regions
of a page come one after the other.
"""

from typing import Final

from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.machine.pkru import NO_ACCESS, NO_WRITE

KEY_AT: Final = 3
KEY: Final = 3 << KEY_AT
MAPPED: Final = 1 << 5
REGISTERED: Final = 1 << 6
"""Registered with userfaultfd, for write-protection."""
POPULATED: Final = 1 << 7
"""An access has succeeded here since the region was registered, and no call since may have dropped the page."""
HUGE: Final = 1 << 8
"""Madvised for huge pages: a region of its own, though it allows the same."""
READ_IMPLIED: Final = 1 << 9
"""Loads are allowed though nobody has asked for it, because x86 allows them with stores or fetches: a region of its own
as well."""
ANY_KIND: Final = READ | WRITE | EXEC
HOLE: Final = 0

Older = tuple[int, int, int]
"""A region that an access may still meet: the number of the call that has replaced it, the region, its register."""


def region_of(prot: int) -> int:
    """Return a region with rights; one that allows stores or fetches allows loads, as on x86."""
    return MAPPED | prot | (READ | READ_IMPLIED if prot and not prot & READ else 0)


def allows(region: int, kind: int, pkru: int) -> bool:
    """Return whether a region allows an access of `kind` to a CPU with this PKRU; a fetch asks for no key."""
    if not region & kind or kind == EXEC:
        return bool(region & kind)
    bits = pkru >> 2 * ((region & KEY) >> KEY_AT)
    return not bits & (NO_ACCESS | NO_WRITE if kind == WRITE else NO_ACCESS)


def allowance(region: int) -> int:
    """Return what a fault handler that has found this region reports: its rights and its key, -1 for a hole."""
    return region & (ANY_KIND | KEY) if region & MAPPED else -1
