"""zap_pte_range: take entries out and pass their pages to the gather, for munmap and MADV_DONTNEED.

A walker reads the PMD without a lock and looks again under the PTL (pte_offset_map_lock): the table may be gone by
then, and a new table or a huge page may be in its place.
MADV_DONTNEED also frees the page table that it has emptied (CONFIG_PT_RECLAIM, which x86-64 has by default since
6.14): under the same PTL, if the PMD lock is free at that moment (zap_empty_pte_table); else it checks later, under
both locks, whether the table is still empty (zap_pte_table_if_empty). After that a fault may install another table or
map a huge page, while the old table waits for the flush of the gather.
"""

from typing import Final

from shootdown.machine.entry import (
    DIRTY,
    PRESENT,
    PROTNONE,
    PSE,
    SWP_UFFD_WP,
    UFFD_WP,
    UFFD_WP_MARKER,
)
from shootdown.machine.geometry import FANOUT, TABLES, frame_of
from shootdown.mm.locks import pmd_lock, pmd_unlock, pte_unlock
from shootdown.mm.operation import gather_flush
from shootdown.mm.page_cache import remove_rmap
from shootdown.mm.page_mask import WHOLE_TABLE, pages_in
from shootdown.mm.state import NOBODY, VM_RIGHTS, VM_SHARED, Step
from shootdown.mm.step import push, step
from shootdown.mm.swap import free_swap_entry
from shootdown.mm.tables import (
    clear_pmd,
    has_table,
    is_marker,
    is_special,
    is_swap,
    pmd_of,
    pte_of,
    set_pmd_leaf,
    set_pte,
)
from shootdown.mm.thp import split_huge
from shootdown.mm.world import World

UNMAP: Final = 0
"""A zap for the removal of a region or its object, which leaves no marker (ZAP_FLAG_DROP_MARKER)."""
DROP: Final = 1
"""A zap for MADV_DONTNEED: shared memory stays write-protected for userfaultfd."""
DROP_TABLE: Final = 2
"""A zap for MADV_DONTNEED of the whole table, under the PTL from its begin: it removes the table too."""
DROP_IF_EMPTY: Final = 3
"""A zap as DROP_TABLE, but with the PTL released meanwhile: it removes the table if that is empty."""


@step("zap_pmd_range", "check")
def zap_pmd(w: World, cpu: int, s: Step) -> None:
    """Zap the pages of a mask below a PMD.

    `what`: UNMAP or DROP.
    """
    _, mm, index, mask, what = s
    pmd = pmd_of(w, mm, index)
    if not pmd:
        for i in pages_in(mask):
            w.observer.found_unmapped(cpu, mm, index * FANOUT + i)
    elif pmd & PSE:
        push(w, cpu, (pmd_lock, mm), (zap_huge_pmd, mm, index, mask, what))
    else:
        whole = what == DROP and mask == WHOLE_TABLE
        push(w, cpu, (zap_ptes, mm, index, mask, DROP_TABLE if whole else what))


@step("pte_lock, flush_tlb_batched_pending", "lock")
def zap_ptes(w: World, cpu: int, s: Step) -> bool:
    """Lock the table and zap its pages; begin again with zap_pmd if the table is gone."""
    _, mm, index, mask, what = s
    at = mm * TABLES + index
    if w.ptl[at] != NOBODY:
        return True
    if not has_table(w, mm, index):
        push(w, cpu, (zap_pmd, mm, index, mask, min(what, DROP)))
        return False
    w.ptl[at] = cpu
    push(w, cpu, (zap_pte, mm, index, mask, what))
    w.flush.flush_batched_pending(w, cpu, mm)
    return False


@step("ptep_get_and_clear_full", "change")
def zap_pte(w: World, cpu: int, s: Step) -> None:
    """Zap the first page of the mask under the PTL, and push the next step: the other pages, or the unlock."""
    _, mm, index, mask, what = s
    page = index * FANOUT + (mask & -mask).bit_length() - 1
    rest = mask & mask - 1
    old = pte_of(w, mm, page)
    left = marker_left(w, mm, page, old) if what != UNMAP else 0
    if old != left:
        set_pte(w, cpu, mm, page, left)
    if left:
        what = DROP
    frame = -1
    full = False
    if old & (PRESENT | PROTNONE):
        w.observer.visit(cpu, mm, page, VM_RIGHTS)
        w.flush.entry_cleared(w, cpu, mm, page, 1, old, 0)
        if not is_special(old):
            frame = frame_of(old)
            w.observer.object_left(mm, frame)
            full = w.flush.page_removed(w, cpu, frame, 1)
    else:
        w.observer.found_unmapped(cpu, mm, page)
        if is_swap(old):
            free_swap_entry(w, mm, old)
    if full:
        # force_flush: the batch is full; release the PTL, flush and free, then continue.
        what = DROP_IF_EMPTY if what == DROP_TABLE else what
        push(w, cpu, (pte_unlock, mm, index), (gather_flush,), *after(mm, index, rest, what))
    elif rest:
        push(w, cpu, (zap_pte, mm, index, rest, what))
    elif what == DROP_TABLE:
        push(w, cpu, (zap_empty_table, mm, index))
    else:
        push(w, cpu, (pte_unlock, mm, index), *after(mm, index, rest, what))
    if frame >= 0 and w.file_frames >> frame & 1:
        if old & DIRTY:
            # Flush before the PTL is released: after that a writeback takes the folio for clean (1cf35d47712d).
            # The kernel flushes once for each table; to flush at once costs more and opens no other window.
            w.dirty |= 1 << frame
            w.flush.dirty_folio_unmapped(w, cpu, mm, page)
        else:
            remove_rmap(w, mm, page)


def after(mm: int, index: int, rest: int, what: int) -> list[Step]:
    """Return the remaining steps for a page table, without its lock."""
    if rest:
        return [(zap_ptes, mm, index, rest, what)]
    return [(zap_table_if_empty, mm, index)] if what == DROP_IF_EMPTY else []


@step("zap_empty_pte_table", "change")
def zap_empty_table(w: World, cpu: int, s: Step) -> None:
    """Remove the empty table, under the PTL that was held since it was emptied; every way out releases the PTL.

    The PMD lock comes before a PTL in the order of locks, so it is only tried.
    """
    _, mm, index = s
    unlock = (pte_unlock, mm, index)
    if w.pmd_lock[mm] == NOBODY:
        unhook(w, cpu, mm, index)
        push(w, cpu, unlock)
    else:
        push(w, cpu, unlock, (zap_table_if_empty, mm, index))


@step("zap_pte_table_if_empty", "lock")
def zap_table_if_empty(w: World, cpu: int, s: Step) -> bool:
    """Remove the table under the PMD lock and the PTL, unless another CPU has filled it or removed it meanwhile."""
    _, mm, index = s
    if w.pmd_lock[mm] != NOBODY or w.ptl[mm * TABLES + index] != NOBODY:
        return True
    pages = range(index * FANOUT, (index + 1) * FANOUT)
    if has_table(w, mm, index) and not any(pte_of(w, mm, page) for page in pages):
        unhook(w, cpu, mm, index)
    return False


def unhook(w: World, cpu: int, mm: int, index: int) -> None:
    """Remove the table from its PMD, and free it with the gather (pmd_clear, pte_free_tlb)."""
    table = frame_of(pmd_of(w, mm, index))
    clear_pmd(w, cpu, mm, index)
    w.flush.table_reclaimed(w, cpu, mm, index, table)


def marker_left(w: World, mm: int, page: int, old: int) -> int:
    """Return the entry that MADV_DONTNEED leaves: a marker for shared memory that is write-protected for userfaultfd,
    else 0 (zap_install_uffd_wp_if_needed).
    """
    if not w.vma[mm][page] & VM_SHARED:
        return 0
    marked = old & UFFD_WP if old & (PRESENT | PROTNONE) else is_marker(old) or old & SWP_UFFD_WP
    return UFFD_WP_MARKER if marked else 0


@step("zap_huge_pmd", "change")
def zap_huge_pmd(w: World, cpu: int, s: Step) -> None:
    """Zap a huge page under the PMD lock; every way out releases the lock."""
    _, mm, index, mask, what = s
    pmd = pmd_of(w, mm, index)
    if not pmd & PSE:
        push(w, cpu, (pmd_unlock, mm), (zap_pmd, mm, index, mask, what))
        return
    if mask != WHOLE_TABLE:
        push(w, cpu, (split_huge, mm, index), (pmd_unlock, mm), (zap_pmd, mm, index, mask, what))
        return
    set_pmd_leaf(w, cpu, mm, index, 0)
    first = index * FANOUT
    w.flush.entry_cleared(w, cpu, mm, first, FANOUT, pmd, 0)
    for i in range(FANOUT):
        w.observer.object_left(mm, frame_of(pmd) + i)
        w.observer.visit(cpu, mm, first + i, VM_RIGHTS)
    full = w.flush.page_removed(w, cpu, frame_of(pmd), FANOUT)
    push(w, cpu, (pmd_unlock, mm), *([(gather_flush,)] if full else []))
