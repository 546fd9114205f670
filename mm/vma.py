"""VMAs: the longest runs of pages whose regions agree in everything, and follow each other in their object.

Two such runs that meet are one VMA (vma_merge); who changes a part of one splits it.
"""

from machine.geometry import FANOUT, PAGES
from mm.world import VM_MAPPED, VM_PGOFF_SHIFT, VM_SHARED


def belongs(vma: int, following: int) -> bool:
    """Return whether the page behind one whose region is `vma` is of the same VMA."""
    return bool(vma & VM_MAPPED) and following == vma + (
        1 << VM_PGOFF_SHIFT if vma & VM_SHARED else 0
    )


def whole_vmas(regions: list[int], mask: int) -> int:
    """Return the mask of all pages of the VMAs that have a page of the mask."""
    found = begin = 0
    for page in range(1, PAGES + 1):
        vma = regions[page - 1]
        # As `belongs`, without its call: every writer of mmap_lock comes here.
        following = vma + (1 << VM_PGOFF_SHIFT) if vma & VM_SHARED else vma
        if page < PAGES and vma & VM_MAPPED and regions[page] == following:
            continue
        if vma & VM_MAPPED:
            run = (1 << page) - (1 << begin)
            if run & mask:
                found |= run
        begin = page
    return found


def vmas_in(regions: list[int], first: int, count: int) -> list[tuple[int, int]]:
    """for_each_vma_range: return (first page, number of pages) of what each VMA has of the range, ascending."""
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
    """Return whether a VMA ends inside of what entry `index` of the PMD table maps."""
    first = index * FANOUT
    return not all(
        belongs(regions[page], regions[page + 1]) for page in range(first, first + FANOUT - 1)
    )
