"""MADV_DONTNEED and MADV_FREE, both under the lock of one VMA, or under mmap_lock for reading."""

from typing import Final

from shootdown.machine.entry import ACCESSED, DIRTY, PRESENT, PROTNONE, PSE
from shootdown.machine.geometry import FANOUT, TABLES, frame_of
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.huge_zero import is_huge_zero
from shootdown.mm.locks import (
    mmap_read_trylock,
    pmd_lock,
    pmd_unlock,
    pte_unlock,
    vma_end_read,
    vma_read_trylock,
)
from shootdown.mm.operation import (
    gather_begin,
    gather_finish,
    gather_finish_free,
    op_return,
    read_unlock_return,
)
from shootdown.mm.page_mask import by_table, mask_of, pages_in
from shootdown.mm.state import NOBODY, VM_PFNMAP, VM_SHARED, VM_UFFD_WP, ZERO_FRAME, Step
from shootdown.mm.step import push, step
from shootdown.mm.swap import free_swap_entry
from shootdown.mm.tables import has_table, is_swap, pmd_of, pte_of, set_pte
from shootdown.mm.thp import split_huge
from shootdown.mm.vma import vmas_in
from shootdown.mm.world import World
from shootdown.mm.zap import DROP, zap_pmd

DONTNEED: Final = 0
FREE: Final = 1


def start_dontneed(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin madvise(MADV_DONTNEED), which drops the pages: the next access sees zeros, or the shared object."""
    _start(w, cpu, page, count, DONTNEED)


Operation(
    number=6,
    name="dontneed",
    start=start_dontneed,
    summary="MADV_DONTNEED: drop the content of a range",
    pages="range",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.VMA,
    access=False,
    rank=1,
    weight=7,
    layouts=(),
    needs=(),
    shares=(
        "rmap of a page of the file",
        "a page that goes",
        "hint of a page",
        "PMD of a huge page",
        "huge zero page",
        "page table under a walker",
    ),
    holds_page=False,
    simpler_as=(),
)


def start_free(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin madvise(MADV_FREE), after which the content may be dropped unless it is written again."""
    _start(w, cpu, page, count, FREE)


Operation(
    number=7,
    name="free",
    start=start_free,
    summary="MADV_FREE: content may be dropped lazily",
    pages="range",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.VMA,
    access=False,
    rank=3,
    weight=4,
    layouts=(),
    needs=(),
    shares=("a page that goes", "PMD of a huge page"),
    holds_page=False,
    simpler_as=(),
)


def _start(w: World, cpu: int, page: int, count: int, advice: int) -> None:
    push(w, cpu, (madvise_vma, w.task_mm[cpu], page, count, advice))


@step("madvise_lock, madvise_walk_vmas", "lock")
def madvise_vma(w: World, cpu: int, s: Step) -> bool:
    """Take the lock, and walk the regions of the range (madvise_walk_vmas).

    The lock is that of the VMA if the range is part of a single one that is not registered with userfaultfd and not
    locked for writing (try_vma_read_lock); else it is mmap_lock for reading. The lock of the VMA is released after the
    walk and before the flush, mmap_lock after the flush: with the former the next writer of the VMA finds entries that
    are cleared and not flushed yet, and opens a nested gather.
    The walk skips holes, which cause an error only at the end (ENOMEM). A region that refuses the advice ends it
    (EINVAL); the regions before it are done.
    """
    _, mm, first, count, advice = s
    vmas = vmas_in(w.vma[mm], first, count)
    alone = vmas == [(first, count)] and not w.vma[mm][first] & VM_UFFD_WP
    by_vma = alone and vma_read_trylock(w, mm, first)
    if not by_vma and not mmap_read_trylock(w, mm):
        return True
    passes: list[Step] = []
    for start, length in vmas:
        if refuses(w.vma[mm][start], advice):
            break
        parts = by_table(mask_of(start, length))
        if advice == FREE:
            passes += [(free_pmd, mm, index, mask) for index, mask in parts]
        else:
            passes += [(zap_pmd, mm, index, mask, DROP) for index, mask in parts]
    finish = (gather_finish,) if advice == FREE else (gather_finish_free,)
    if by_vma:
        push(w, cpu, (gather_begin, mm), *passes, (madvise_end, mm, first), finish, (op_return,))
    else:
        push(w, cpu, (gather_begin, mm), *passes, finish, (read_unlock_return, mm))
    return False


@step("vma_end_read", "unlock")
def madvise_end(w: World, _cpu: int, s: Step) -> None:
    """Release the lock of the VMA, which was found by the page."""
    _, mm, page = s
    vma_end_read(w, mm, page)


def refuses(vma: int, advice: int) -> bool:
    """Return whether a region refuses the advice: a driver's region any (madvise_dontneed_free_valid_vma), shared
    memory MADV_FREE (madvise_free_single_vma).
    """
    return bool(vma & (VM_PFNMAP if advice == DONTNEED else VM_PFNMAP | VM_SHARED))


@step("madvise_free_pte_range", "check")
def free_pmd(w: World, cpu: int, s: Step) -> None:
    """Free the pages of a mask below a PMD; every huge page is split first, except the huge zero page."""
    _, mm, index, mask = s
    pmd = pmd_of(w, mm, index)
    if is_huge_zero(w, pmd):
        return
    if pmd & PSE:
        push(w, cpu, (pmd_lock, mm), (split_huge, mm, index), (pmd_unlock, mm), s)
    elif pmd:
        push(w, cpu, (free_ptes, mm, index, mask))


@step("pte_lock, flush_tlb_batched_pending", "lock")
def free_ptes(w: World, cpu: int, s: Step) -> bool:
    """Lock the table and free the pages of the mask; if the table is gone, there is nothing to free."""
    _, mm, index, mask = s
    at = mm * TABLES + index
    if w.ptl[at] != NOBODY:
        return True
    if has_table(w, mm, index):
        w.ptl[at] = cpu
        frees = [(free_pte, mm, index * FANOUT + i) for i in pages_in(mask)]
        push(w, cpu, *frees, (pte_unlock, mm, index))
        w.flush.flush_batched_pending(w, cpu, mm)
    return False


@step("pte_mkold, pte_mkclean", "change")
def free_pte(w: World, cpu: int, s: Step) -> None:
    """Clear A and D of an exclusive page in one exchange, and mark the page as lazily free; drop a swap entry at once.

    A page with a copy in swap is left alone; Linux gives up the copy first if no other entry names it.
    """
    _, mm, page = s
    old = pte_of(w, mm, page)
    if is_swap(old):
        set_pte(w, cpu, mm, page, 0)
        w.observer.found_unmapped(cpu, mm, page)
        free_swap_entry(w, mm, old)
        return
    frame = frame_of(old)
    if not old & (PRESENT | PROTNONE) or frame == ZERO_FRAME or w.refs[frame] != 1:
        return
    w.lazy_free |= 1 << frame
    w.observer.lazy_freed(cpu, mm, frame)
    new = old & ~(ACCESSED | DIRTY)
    if new != old:
        set_pte(w, cpu, mm, page, new)
        w.flush.entry_cleared(w, cpu, mm, page, 1, old, new)
