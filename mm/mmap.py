"""mmap of private or shared anonymous memory, with or without huge pages, or of the file, into a hole.

Only the layout of a scenario maps a driver's pages.
"""

from typing import Final

from shootdown.machine.geometry import PAGES
from shootdown.mm.arguments import MAP_SHIFT, MAPPING
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.locks import write_trylock
from shootdown.mm.operation import write_unlock_return
from shootdown.mm.page_mask import mask_of
from shootdown.mm.pfnmap import link
from shootdown.mm.state import (
    VM_FILE,
    VM_HUGE,
    VM_MAPPED,
    VM_PFNMAP,
    VM_PGOFF_SHIFT,
    VM_RIGHTS,
    VM_SHARED,
    VM_SOFTDIRTY,
    Step,
)
from shootdown.mm.step import push, step
from shootdown.mm.tables import rights
from shootdown.mm.world import World

PRIVATE: Final = 0
SHARED: Final = 1
HUGE: Final = 2
FILE: Final = 3
PFNMAP: Final = 4


def region_flags(page: int, prot: int, kind: int) -> int:
    """Return the flags of a region's page; a shared page's offset in its object or in the file is its page number."""
    flags = VM_MAPPED | VM_SOFTDIRTY | prot
    if kind == SHARED:
        return flags | VM_SHARED | page << VM_PGOFF_SHIFT
    if kind == FILE:
        return flags | VM_SHARED | VM_FILE | PAGES + page << VM_PGOFF_SHIFT
    if kind == PFNMAP:
        return flags | VM_SHARED | VM_PFNMAP | page << VM_PGOFF_SHIFT
    return flags | (VM_HUGE if kind == HUGE else 0)


def start_mmap(w: World, cpu: int, page: int, count: int, arg: int) -> None:
    """Begin mmap with MAP_FIXED_NOREPLACE: it fails, without effect, if a page of the range is mapped.

    `arg`: the rights in the low three bits, 8 * (PRIVATE, SHARED, HUGE or FILE) above them.
    """
    mm = w.task_mm[cpu]
    push(
        w,
        cpu,
        (mmap_region, mm, page, count, arg),
        (write_unlock_return, mm),
    )


Operation(
    number=5,
    name="mmap",
    start=start_mmap,
    summary="map fresh memory over a range",
    pages="range",
    argument=MAPPING,
    thread=Thread.USER,
    lock=Lock.WRITE,
    access=False,
    rank=3,
    weight=7,
    layouts=(),
    needs=(),
    shares=(),
    holds_page=False,
    simpler_as=(),
)


@step("mmap_write_lock, mmap_region", "lock")
def mmap_region(w: World, cpu: int, s: Step) -> bool:
    _, mm, first, count, arg = s
    regions = w.vma[mm]
    is_hole = not any(regions[first : first + count])
    new = [
        region_flags(page, arg & VM_RIGHTS, arg >> MAP_SHIFT)
        for page in range(first, first + count)
    ]
    then = [*regions[:first], *new, *regions[first + count :]]
    if not write_trylock(w, mm, mask_of(first, count) if is_hole else 0, then):
        return True
    if is_hole:
        map_pages(w, cpu, mm, range(first, first + count), arg & VM_RIGHTS, arg >> MAP_SHIFT)
        for page in range(first, first + count):
            # The CPU that unmapped the address may not have flushed yet, and the new region differs from the old one.
            w.observer.visit(cpu, mm, page, VM_RIGHTS)
        w.flush.addresses_reused(w, cpu, mm)
    return False


def map_pages(w: World, cpu: int, mm: int, pages: range, prot: int, kind: int) -> None:
    """Create the region of the pages, for the operation on a CPU (NOBODY: none); nothing is populated."""
    for page in pages:
        w.vma[mm][page] = region_flags(page, prot, kind)
        link(w, mm, page)
        w.observer.region(cpu, mm, page, rights(prot))
