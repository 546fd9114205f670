"""zap_pte_range: take entries out and hand their pages to the gather; for munmap and MADV_DONTNEED."""

from machine.entry import DIRTY, PRESENT, PROTNONE, PSE
from machine.geometry import FANOUT, frame_of
from mm.locks import pmd_lock, pmd_unlock, pte_unlock
from mm.operation import gather_flush, pte_lock_batched
from mm.page_cache import remove_rmap
from mm.page_mask import WHOLE_TABLE, pages_in
from mm.step import Step, push, step
from mm.swap import free_swap_entry
from mm.tables import is_special, is_swap, pmd_of, pte_of, set_pmd_leaf, set_pte
from mm.thp import split_huge
from mm.world import VM_RIGHTS, World


@step("zap_pmd_range", "check")
def zap_pmd(w: World, cpu: int, s: Step) -> None:
    """Arguments: mm, PMD index, mask of pages."""
    _, mm, index, mask = s
    pmd = pmd_of(w, mm, index)
    if not pmd:
        for i in pages_in(mask):
            w.observer.found_unmapped(cpu, mm, index * FANOUT + i)
    elif pmd & PSE:
        push(w, cpu, (pmd_lock, mm), (zap_huge_pmd, *s[1:]))
    else:
        zaps = [(zap_pte, mm, index * FANOUT + i) for i in pages_in(mask)]
        push(w, cpu, (pte_lock_batched, mm, index), *zaps, (pte_unlock, mm, index))


@step("ptep_get_and_clear_full", "change")
def zap_pte(w: World, cpu: int, s: Step) -> None:
    _, mm, page = s
    old = pte_of(w, mm, page)
    if old:
        set_pte(w, cpu, mm, page, 0)
    if not old & (PRESENT | PROTNONE):
        w.observer.found_unmapped(cpu, mm, page)
        if is_swap(old):
            free_swap_entry(w, mm, old)
        return
    w.observer.visit(cpu, mm, page, VM_RIGHTS)
    w.flush.entry_cleared(w, cpu, mm, page, 1, old, 0)
    if is_special(old):
        return
    frame = frame_of(old)
    w.observer.object_left(mm, frame)
    if w.flush.page_removed(w, cpu, frame):
        # force_flush: the batch is full; leave the PTL, flush and free, then go on.
        index = page // FANOUT
        push(
            w,
            cpu,
            (pte_unlock, mm, index),
            (gather_flush,),
            (pte_lock_batched, mm, index),
        )
    if w.file_frames >> frame & 1:
        if old & DIRTY:
            # Before the PTL is released: who writes the folio back takes it for clean from then on (1cf35d47712d).
            # The kernel flushes once a table; to flush at once costs more and opens no other window.
            w.dirty |= 1 << frame
            w.flush.dirty_folio_unmapped(w, cpu, mm, page)
        else:
            remove_rmap(w, mm, page)


@step("zap_huge_pmd", "change")
def zap_huge_pmd(w: World, cpu: int, s: Step) -> None:
    """Entered with the PMD lock; every way out releases it."""
    _, mm, index, mask = s
    pmd = pmd_of(w, mm, index)
    if not pmd & PSE:
        push(w, cpu, (pmd_unlock, mm), (zap_pmd, *s[1:]))
        return
    if mask != WHOLE_TABLE:
        push(w, cpu, (split_huge, mm, index), (pmd_unlock, mm), (zap_pmd, *s[1:]))
        return
    set_pmd_leaf(w, cpu, mm, index, 0)
    first = index * FANOUT
    w.flush.entry_cleared(w, cpu, mm, first, FANOUT, pmd, 0)
    full = False
    for i in range(FANOUT):
        frame = frame_of(pmd) + i
        w.observer.object_left(mm, frame)
        w.observer.visit(cpu, mm, first + i, VM_RIGHTS)
        full = w.flush.page_removed(w, cpu, frame) or full
    push(w, cpu, (pmd_unlock, mm), *([(gather_flush,)] if full else []))
