"""The regions of each page, as the calls have made them.

A page's region is one integer: the accesses that it allows (READ, WRITE, EXEC), its protection key, and flags; 0 is a
hole. A call that changes it takes effect at some instant between its begin and its return; until it has returned, the
program may still meet the old region. Such calls exclude one another (mmap_lock for writing), so the regions of a page
follow one after the other.
"""

from typing import Final

from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.machine.pkru import NO_ACCESS, NO_WRITE

KEY_AT: Final = 3
KEY: Final = 3 << KEY_AT
MAPPED: Final = 1 << 5
REGISTERED: Final = 1 << 6
"""The flag of a region that is registered with userfaultfd, for write-protection."""
POPULATED: Final = 1 << 7
"""The flag of a page at which an access has succeeded since its region was registered, and that no later call may have
dropped.
"""
HUGE: Final = 1 << 8
"""The flag of a region for huge pages, which is separate from others with the same rights."""
READ_IMPLIED: Final = 1 << 9
"""The flag of a region that allows loads only because x86 allows them with stores or fetches; also separate."""
ANY_KIND: Final = READ | WRITE | EXEC
HOLE: Final = 0

Older = tuple[int, int, int]
"""A region that an access may still meet: the number of the call that replaced it, the region, its register."""


def region_of(prot: int) -> int:
    """Return a region with rights; one that allows stores or fetches allows loads, as on x86."""
    return MAPPED | prot | (READ | READ_IMPLIED if prot and not prot & READ else 0)


def allows(region: int, kind: int, pkru: int) -> bool:
    """Return whether a region allows an access of `kind` to a CPU with this PKRU; keys do not restrict fetches."""
    if not region & kind or kind == EXEC:
        return bool(region & kind)
    bits = pkru >> 2 * ((region & KEY) >> KEY_AT)
    return not bits & (NO_ACCESS | NO_WRITE if kind == WRITE else NO_ACCESS)


def allowance(region: int) -> int:
    """Return the rights and the key that a fault handler reports for this region, -1 for a hole."""
    return region & (ANY_KIND | KEY) if region & MAPPED else -1
