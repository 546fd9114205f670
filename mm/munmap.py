"""munmap: remove regions, zap their pages, and free the page tables that map nothing any more."""

from shootdown.machine.entry import PRESENT, PSE
from shootdown.machine.geometry import FANOUT, TABLES, frame_of
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.locks import mmap_write_downgrade, write_trylock
from shootdown.mm.operation import gather_begin, gather_finish_free, read_unlock_return
from shootdown.mm.page_mask import by_table, mask_of
from shootdown.mm.pfnmap import end_pfn_vma, unlink_of
from shootdown.mm.state import NOBODY, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import clear_pmd, pmd_of
from shootdown.mm.world import World
from shootdown.mm.zap import UNMAP, zap_pmd


def start_munmap(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin munmap(page, count) in the CPU's address space.

    mmap_lock is held for writing until the regions are gone, and for reading to the end (mmap_write_downgrade), so
    faults, madvise and userfaultfd overlap with the zap and with the freeing of tables. A VMA that is removed only in
    part is split, and the downgrade unlocks the rest.
    """
    mm = w.task_mm[cpu]
    push(
        w,
        cpu,
        (munmap_vma, mm, page, count),
        (read_unlock_return, mm),
    )


Operation(
    number=4,
    name="munmap",
    start=start_munmap,
    summary="unmap a range",
    pages="range",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.WRITE_THEN_READ,
    access=False,
    rank=1,
    weight=6,
    layouts=(),
    needs=(),
    shares=(
        "rmap of a page of the file",
        "huge zero page",
        "pages of a driver",
        "page table of a lazy CPU",
    ),
    holds_page=False,
    simpler_as=(),
)


@step("mmap_write_lock, do_vmi_align_munmap, mmap_write_downgrade", "lock")
def munmap_vma(w: World, cpu: int, s: Step) -> bool:
    _, mm, first, count = s
    if not write_trylock(w, mm, mask_of(first, count)):
        return True
    unmap_region(w, cpu, mm, first, count, (gather_finish_free,))
    mmap_write_downgrade(w, mm)
    return False


def unmap_region(w: World, cpu: int, mm: int, first: int, count: int, finish: Step) -> None:
    """Remove the regions of the pages, under mmap_lock and their VMAs' locks for writing; zap the pages and free their
    tables.

    `finish`: the step that ends the gather.
    """
    mask = remove_regions(w, cpu, mm, first, count)
    if mask:
        zaps = [(zap_pmd, mm, index, part, UNMAP) for index, part in by_table(mask)]
        frees = [(free_pgtable, mm, index) for index, _ in by_table(mask)]
        unlink = unlink_of(w, mm, mask)
        if unlink:
            # Flushed before the region leaves i_mmap, where unmap_mapping_range looks for it (b67fbebd4cf9).
            unlink.insert(0, (end_pfn_vma,))
        push(w, cpu, (gather_begin, mm), *zaps, *unlink, *frees, finish)


def remove_regions(w: World, cpu: int, mm: int, first: int, count: int) -> int:
    """Remove the regions of the pages, while no other CPU looks; return the mask of the pages that had one."""
    mask = 0
    for page in range(first, first + count):
        if w.vma[mm][page]:
            w.vma[mm][page] = 0
            w.observer.region(cpu, mm, page, -1)
            mask |= 1 << page
    return mask


@step("free_pgtables", "free")
def free_pgtable(w: World, cpu: int, s: Step) -> bool:
    """Remove a page table that no region needs; it is freed after the flush.

    The step waits for a holder of the table's lock: the kernel unlinks the regions from the rmap first, which waits for
    the walkers of the rmap.
    """
    _, mm, index = s
    first = index * FANOUT
    pmd = pmd_of(w, mm, index)
    if any(w.vma[mm][first : first + FANOUT]) or pmd & (PRESENT | PSE) != PRESENT:
        return False
    if w.ptl[mm * TABLES + index] != NOBODY:
        return True
    clear_pmd(w, cpu, mm, index)
    w.flush.table_removed(w, cpu, mm, index, frame_of(pmd))
    return False
