"""MADV_DONTNEED and MADV_FREE, both under mmap_lock for reading."""

from machine.entry import ACCESSED, DIRTY, PRESENT, PSE
from machine.geometry import FANOUT, frame_of
from mm.locks import mmap_read_lock, mmap_read_unlock, pmd_lock, pmd_unlock, pte_lock, pte_unlock
from mm.operation import batched_pending, gather_begin, gather_finish, op_return
from mm.page_mask import by_table, mask_of, pages_in
from mm.step import Step, push, step
from mm.tables import pmd_of, pte_of, set_pte
from mm.thp import split_huge
from mm.world import VM_MAPPED, VM_SHARED, ZERO_FRAME, World
from mm.zap import zap_pmd

DONTNEED = 0
FREE = 1


def start_dontneed(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin madvise(MADV_DONTNEED): drop the pages; the next access sees zeros, or the shared object."""
    _start(w, cpu, page, count, DONTNEED)


def start_free(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin madvise(MADV_FREE): the content may be dropped unless it is written again."""
    _start(w, cpu, page, count, FREE)


def _start(w: World, cpu: int, page: int, count: int, advice: int) -> None:
    mm = w.task_mm[cpu]
    push(
        w,
        cpu,
        (mmap_read_lock, mm),
        (madvise_vma, mm, page, count, advice),
        (mmap_read_unlock, mm),
        (op_return,),
    )


@step("madvise_vma_behavior", "check")
def madvise_vma(w: World, cpu: int, s: Step) -> None:
    """Refuse a range with a hole (ENOMEM), and MADV_FREE of shared memory (EINVAL)."""
    _, mm, first, count, advice = s
    regions = w.vma[mm][first : first + count]
    if not all(vma & VM_MAPPED for vma in regions):
        return
    if advice == FREE and any(vma & VM_SHARED for vma in regions):
        return
    code = free_pmd if advice == FREE else zap_pmd
    passes = [(code, mm, i, mask) for i, mask in by_table(mask_of(first, count))]
    push(w, cpu, (gather_begin, mm), *passes, (gather_finish,))


@step("madvise_free_pte_range", "check")
def free_pmd(w: World, cpu: int, s: Step) -> None:
    """Arguments: mm, PMD index, mask of pages; a huge page is split first, whole or not."""
    _, mm, index, mask = s
    pmd = pmd_of(w, mm, index)
    if pmd & PSE:
        push(w, cpu, (pmd_lock, mm), (split_huge, mm, index), (pmd_unlock, mm), s)
    elif pmd:
        frees = [(free_pte, mm, index * FANOUT + i) for i in pages_in(mask)]
        push(w, cpu, (pte_lock, mm, index), (batched_pending, mm), *frees, (pte_unlock, mm, index))


@step("pte_mkold, pte_mkclean", "change")
def free_pte(w: World, cpu: int, s: Step) -> None:
    """Clear A and D of an exclusive page in one exchange, and mark the page as lazily free."""
    _, mm, page = s
    old = pte_of(w, mm, page)
    frame = frame_of(old)
    if not old & PRESENT or frame == ZERO_FRAME or w.refs[frame] != 1:
        return
    w.lazy_free |= 1 << frame
    w.observer.lazy_freed(cpu, mm, page)
    new = old & ~(ACCESSED | DIRTY)
    if new != old:
        set_pte(w, cpu, mm, page, new)
        w.flush.entry_cleared(w, cpu, mm, page, 1, old, new)
