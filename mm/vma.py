"""VMAs: the longest runs of pages whose regions have equal flags and follow each other in their object.

Two such runs that meet are one VMA (vma_merge); a change of a part splits it.
"""

from functools import lru_cache

from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.mm.state import VM_MAPPED, VM_PGOFF_SHIFT, VM_SHARED


def belongs(vma: int, following: int) -> bool:
    """Return whether the next page, with the region `following`, belongs to the same VMA as `vma`."""
    return bool(vma & VM_MAPPED) and following == vma + (
        1 << VM_PGOFF_SHIFT if vma & VM_SHARED else 0
    )


def whole_vmas(regions: list[int], mask: int) -> int:
    """Return the mask of all pages of the VMAs that have a page of the mask."""
    found = 0
    for run in _masks(tuple(regions)):
        if run & mask:
            found |= run
    return found


@lru_cache(maxsize=1 << 12)
def _masks(regions: tuple[int, ...]) -> tuple[int, ...]:
    """Return the mask of each VMA's pages.

    The result is cached, because every writer of mmap_lock needs it, and few of them change a region.
    """
    masks = []
    begin = 0
    for page, vma in enumerate(regions):
        if page + 1 < PAGES and belongs(vma, regions[page + 1]):
            continue
        if vma & VM_MAPPED:
            masks.append((2 << page) - (1 << begin))
        begin = page + 1
    return tuple(masks)


def vmas_in(regions: list[int], first: int, count: int) -> list[tuple[int, int]]:
    """Return (first page, number of pages) of the part of each VMA in the range, in order (for_each_vma_range)."""
    found: list[tuple[int, int]] = []
    for page in range(first, first + count):
        if not regions[page] & VM_MAPPED:
            continue
        if found and sum(found[-1]) == page and belongs(regions[page - 1], regions[page]):
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((page, 1))
    return found


def has_boundary(regions: list[int], index: int) -> bool:
    """Return whether a VMA ends inside the 2 MiB of entry `index` of the PMD table."""
    first = index * FANOUT
    return not all(
        belongs(regions[page], regions[page + 1]) for page in range(first, first + FANOUT - 1)
    )
