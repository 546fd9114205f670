"""clear_refs: forget which pages were written, so that the next store to each is recorded (soft-dirty tracking).

Writing 4 to /proc/PID/clear_refs takes mmap_lock for writing, clears RW and SOFT_DIRTY in every entry, flushes the
address space and returns; after that the first store to a page faults, and the handler sets SOFT_DIRTY again.
A driver's pages are left alone (clear_refs_test_walk), and here their regions still count as written.
The gather says that a flush is pending; the entries are not recorded in it, and the flush before its end covers
everything (912efa17e512).
"""

from shootdown.machine.entry import (
    MIGRATION_WRITE,
    PRESENT,
    PROTNONE,
    PSE,
    RW,
    SOFT_DIRTY,
    SWP_SOFT_DIRTY,
)
from shootdown.machine.geometry import FANOUT, PAGES, TABLES
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.locks import pmd_lock, pmd_unlock, pte_lock, pte_unlock, write_trylock
from shootdown.mm.operation import due_return, gather_begin, gather_finish, write_unlock_return
from shootdown.mm.page_mask import ALL_PAGES
from shootdown.mm.state import VM_MAPPED, VM_PFNMAP, VM_SOFTDIRTY, VM_WRITE, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import is_migration, is_swap, pmd_of, pte_of, set_pmd_leaf, set_pte
from shootdown.mm.world import World


def start_clear_refs(w: World, cpu: int, _page: int, _count: int, _arg: int) -> None:
    """Begin clear_refs of the CPU's address space."""
    mm = w.task_mm[cpu]
    push(w, cpu, (clear_refs_write, mm), (write_unlock_return, mm))


Operation(
    number=21,
    name="clear_refs",
    start=start_clear_refs,
    summary="forget which pages were written (soft-dirty)",
    pages="none",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.WRITE,
    access=False,
    rank=5,
    weight=4,
    layouts=(),
    needs=(),
    shares=("rights of an entry", "PMD of a huge page"),
    holds_page=False,
    simpler_as=(),
)


@step("mmap_write_lock, clear_refs_write", "lock")
def clear_refs_write(w: World, cpu: int, s: Step) -> bool:
    _, mm = s
    if not write_trylock(w, mm, ALL_PAGES):
        return True
    regions = w.vma[mm]
    for page in range(PAGES):
        if regions[page] & (VM_MAPPED | VM_PFNMAP) == VM_MAPPED:
            regions[page] &= ~VM_SOFTDIRTY
    w.observer.tracking(cpu, mm)
    walk = [(clear_refs_pmd, mm, index) for index in range(TABLES)]
    flush = ((clear_refs_flush, mm), (due_return,), (gather_finish,))
    push(w, cpu, (gather_begin, mm), *walk, *flush)
    return False


@step("clear_refs_pte_range", "check")
def clear_refs_pmd(w: World, cpu: int, s: Step) -> None:
    _, mm, index = s
    pmd = pmd_of(w, mm, index)
    first = index * FANOUT
    if pmd & PSE:
        push(w, cpu, (pmd_lock, mm), (clear_soft_dirty_pmd, mm, index), (pmd_unlock, mm))
    elif pmd:
        clears = [(clear_soft_dirty, mm, first + i) for i in range(FANOUT)]
        push(w, cpu, (pte_lock, mm, index), *clears, (pte_unlock, mm, index))
    else:
        for page in range(first, first + FANOUT):
            if not w.vma[mm][page] & VM_PFNMAP:
                w.observer.visit(cpu, mm, page, VM_WRITE)


@step("clear_soft_dirty", "change")
def clear_soft_dirty(w: World, cpu: int, s: Step) -> None:
    """Clear RW and SOFT_DIRTY in one exchange, the mark and the right to write in a migration entry, the mark in a swap
    entry.

    Linux leaves a migration entry writable here, and so maps the copy writable and without the mark: a store after the
    migration is not recorded. No flush can close that gap in the tracking, so it is not modelled.
    """
    _, mm, page = s
    if w.vma[mm][page] & VM_PFNMAP:
        return
    pte = pte_of(w, mm, page)
    if pte & (PRESENT | PROTNONE):
        new = pte & ~(RW | SOFT_DIRTY)
    elif is_migration(pte):
        new = pte & ~(MIGRATION_WRITE | SWP_SOFT_DIRTY)
    elif is_swap(pte):
        new = pte & ~SWP_SOFT_DIRTY
    else:
        new = pte
    if new != pte:
        set_pte(w, cpu, mm, page, new)
    w.observer.visit(cpu, mm, page, VM_WRITE)


@step("clear_soft_dirty_pmd", "change")
def clear_soft_dirty_pmd(w: World, cpu: int, s: Step) -> None:
    """Clear RW and SOFT_DIRTY under the PMD lock, in one exchange, because the hardware may set DIRTY until then."""
    _, mm, index = s
    pmd = pmd_of(w, mm, index)
    if not pmd & PSE:
        return
    set_pmd_leaf(w, cpu, mm, index, pmd & ~(RW | SOFT_DIRTY))
    for i in range(FANOUT):
        w.observer.visit(cpu, mm, index * FANOUT + i, VM_WRITE)


@step("flush_tlb_mm", "check")
def clear_refs_flush(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    w.flush.soft_dirty_cleared(w, cpu, mm)
