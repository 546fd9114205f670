"""change_protection: the walk that mprotect, userfaultfd write-protection and the NUMA scan share.

For each page table it takes the PTL and calls flush_tlb_batched_pending; then, for each present entry, it does an
atomic exchange with 0 and commits the new value, which is recorded in the gather (linux-tlb part C).
A huge PMD is changed as a whole if the range covers it, else it is split first.
"""

from typing import Final

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    MIGRATION_WRITE,
    PAT,
    PCD,
    PFN_MASK,
    PRESENT,
    PROTNONE,
    PSE,
    PWT,
    RW,
    SOFT_DIRTY,
    SOFTW1,
    SWP_UFFD_WP,
    UFFD_WP,
    UFFD_WP_MARKER,
)
from shootdown.machine.geometry import FANOUT, TABLES, frame_of
from shootdown.mm.huge_zero import is_huge_zero
from shootdown.mm.locks import pmd_lock, pmd_unlock, pte_unlock
from shootdown.mm.page_mask import WHOLE_TABLE, pages_in
from shootdown.mm.pgtable import pte_alloc
from shootdown.mm.state import (
    NOBODY,
    VM_RIGHTS,
    VM_SHARED,
    VM_SOFTDIRTY,
    VM_WRITE,
    ZERO_FRAME,
    Step,
)
from shootdown.mm.step import push, step
from shootdown.mm.tables import (
    has_table,
    is_marker,
    is_migration,
    is_special,
    is_swap,
    page_prot,
    pmd_of,
    pte_at,
    set_pmd_leaf,
    set_pte,
)
from shootdown.mm.thp import split_huge
from shootdown.mm.world import World

MPROTECT: Final = 0
UFFD_PROTECT: Final = 1
UFFD_RESOLVE: Final = 2
PROT_NUMA: Final = 3
"""The purposes of a change (none of the flags, MM_CP_UFFD_WP, MM_CP_UFFD_WP_RESOLVE, MM_CP_PROT_NUMA)."""

DENY_BITS: Final = 3
"""The number of bits for one page in packed deny bits."""
DENY_MASK: Final = (1 << DENY_BITS * FANOUT) - 1
"""The packed deny bits of the pages of one table."""
KEPT: Final = PFN_MASK | PWT | PCD | PAT | SOFTW1 | ACCESSED | DIRTY | SOFT_DIRTY | UFFD_WP
"""_PAGE_CHG_MASK: the bits of the old entry that pte_modify keeps."""


@step("change_pmd_range", "check")
def change_pmd(w: World, cpu: int, s: Step) -> None:
    """Change the entries below one PMD.

    `deny`: DENY_BITS for each page of the table.
    `mode`: the purpose of the change, for example MPROTECT.
    """
    _, mm, index, mask, deny, mode = s
    pmd = pmd_of(w, mm, index)
    if (
        not pmd
        and mode == UFFD_PROTECT
        and w.vma[mm][index * FANOUT + pages_in(mask)[0]] & VM_SHARED
    ):
        # Shared memory is also write-protected where nothing is mapped, by markers (pgtable_populate_needed).
        push(w, cpu, (pte_alloc, mm, index), s)
    elif not pmd:
        for i in pages_in(mask):
            w.observer.visit(cpu, mm, index * FANOUT + i, deny >> DENY_BITS * i & VM_RIGHTS)
    elif pmd & PSE:
        push(w, cpu, (pmd_lock, mm), (change_huge_pmd, mm, index, mask, deny, mode))
    else:
        push(w, cpu, (change_ptes, mm, index, mask, deny, mode))


@step("pte_lock, flush_tlb_batched_pending", "lock")
def change_ptes(w: World, cpu: int, s: Step) -> bool:
    """Lock the table and change its entries; begin again with change_pmd if the table is gone (-EAGAIN)."""
    _, mm, index, mask, deny, mode = s
    at = mm * TABLES + index
    if w.ptl[at] != NOBODY:
        return True
    if not has_table(w, mm, index):
        push(w, cpu, (change_pmd, mm, index, mask, deny, mode))
        return False
    w.ptl[at] = cpu
    first = index * FANOUT
    changes = [
        (change_pte, mm, first + i, deny >> DENY_BITS * i & VM_RIGHTS, mode) for i in pages_in(mask)
    ]
    push(w, cpu, *changes, (pte_unlock, mm, index))
    w.flush.flush_batched_pending(w, cpu, mm)
    return False


@step("ptep_modify_prot_start", "change")
def change_pte(w: World, cpu: int, s: Step) -> None:
    """Take the entry out with an atomic exchange, so that the decision uses the last value that the hardware saw."""
    _, mm, page, deny, mode = s
    at = pte_at(w, mm, page)
    old = w.machine.memory[at] if at >= 0 else 0
    if mode == PROT_NUMA and not is_migration(old) and not takes_hint(w, mm, page, old):
        return
    if old & (PRESENT | PROTNONE):
        set_pte(w, cpu, mm, page, 0)
        push(w, cpu, (change_pte_commit, mm, page, deny, mode, old))
        return
    if is_migration(old):
        # Changed in place and not recorded: the CPU that unmapped the page owes the flush (flush_tlb_batched_pending).
        if mode in (MPROTECT, PROT_NUMA):
            set_pte(w, cpu, mm, page, old & ~MIGRATION_WRITE)
        elif mode == UFFD_PROTECT:
            set_pte(w, cpu, mm, page, old & ~MIGRATION_WRITE | SWP_UFFD_WP)
        else:
            set_pte(w, cpu, mm, page, old & ~SWP_UFFD_WP)
    elif is_swap(old) and mode != MPROTECT:
        # The rights come from the region when the page is read in; the entry keeps the mark of userfaultfd.
        mark = SWP_UFFD_WP if mode == UFFD_PROTECT else 0
        set_pte(w, cpu, mm, page, old & ~SWP_UFFD_WP | mark)
    elif is_marker(old):
        if mode == UFFD_RESOLVE:
            set_pte(w, cpu, mm, page, 0)
    elif not old and mode == UFFD_PROTECT and w.vma[mm][page] & VM_SHARED:
        set_pte(w, cpu, mm, page, UFFD_WP_MARKER)
    w.observer.visit(cpu, mm, page, deny)


@step("ptep_modify_prot_commit", "commit", takes="mm page deny mode entry")
def change_pte_commit(w: World, cpu: int, s: Step) -> None:
    _, mm, page, deny, mode, old = s
    vma = w.vma[mm][page]
    new = changed_entry(old, vma, mode)
    if mode == MPROTECT and can_change_writable(w, vma, new, pages=1):
        new |= RW
    set_pte(w, cpu, mm, page, new)
    w.observer.visit(cpu, mm, page, deny)
    w.flush.protection_changed(w, cpu, mm, page, old, new)


def changed_entry(old: int, vma: int, mode: int) -> int:
    """Return the entry after the change; a write-protected entry of userfaultfd never gets RW back here.

    Resolving changes only one software bit: later kernels may add RW in the same pass, the series of 2021 did not.
    """
    if mode == UFFD_PROTECT:
        return old & ~RW | UFFD_WP
    if mode == UFFD_RESOLVE:
        return old & ~UFFD_WP
    if mode == PROT_NUMA:
        return old & (KEPT | RW) | ACCESSED | PROTNONE
    new = old & KEPT | page_prot(vma)
    return new & ~RW if new & UFFD_WP else new


def hinted_entry(entry: int, vma: int) -> int:
    """Return the entry that a hint fault restores for one that the NUMA scan made PROTNONE.

    RW stays in the entry (pte_mk_savedwrite, until Linux 6.1). Newer kernels forget it and use can_change_pte_writable,
    which is safe because they never copy an exclusive page. Here a write fault copies such a page if it is pinned, as
    until 5.18: if RW were forgotten, the fault would copy while a CPU has a writable entry that the scan has not
    flushed yet.
    """
    return changed_entry(entry, vma, MPROTECT) | entry & RW


def takes_hint(w: World, mm: int, page: int, pte: int) -> bool:
    """Return whether the NUMA scan makes the page's entry PROTNONE.

    It leaves an entry that is PROTNONE already, and those of the zero page, of a private page that fork has shared and
    of a dirty folio of the file, none of which migrates.
    """
    frame = frame_of(pte)
    if not pte & PRESENT or is_special(pte):
        return False
    if w.file_frames >> frame & 1:
        return not w.dirty >> frame & 1
    return bool(w.vma[mm][page] & VM_SHARED) or w.refs[frame] == 1


def can_change_writable(w: World, vma: int, new: int, *, pages: int) -> bool:
    """Return whether the entry may become writable without a fault (can_change_pte_writable).

    It may not if clear_refs waits for the page's first store (76aefad628aa).
    An anonymous page must be exclusive, which means a single reference; a shared page must be dirty already.
    """
    if not vma & VM_WRITE or not new & PRESENT or new & UFFD_WP:
        return False
    if not (vma & VM_SOFTDIRTY or new & SOFT_DIRTY) and w.flush.soft_dirty_check:
        return False
    if vma & VM_SHARED:
        return bool(new & DIRTY)
    first = frame_of(new)
    return first != ZERO_FRAME and w.refs[first : first + pages] == [1] * pages


@step("change_huge_pmd", "change")
def change_huge_pmd(w: World, cpu: int, s: Step) -> None:
    """Change a huge PMD under the PMD lock; every way out releases the lock."""
    _, mm, index, mask, deny, mode = s
    pmd = pmd_of(w, mm, index)
    if not pmd & PSE:
        push(w, cpu, (pmd_unlock, mm), (change_pmd, mm, index, mask, deny, mode))
    elif mask != WHOLE_TABLE:
        push(
            w,
            cpu,
            (split_huge, mm, index),
            (pmd_unlock, mm),
            (change_pmd, mm, index, mask, deny, mode),
        )
    elif mode == PROT_NUMA and (not pmd & PRESENT or is_huge_zero(w, pmd)):
        push(w, cpu, (pmd_unlock, mm))
    else:
        set_pmd_leaf(w, cpu, mm, index, w.flush.huge_invalid(pmd))
        push(w, cpu, (change_huge_commit, mm, index, deny, mode, pmd), (pmd_unlock, mm))
        if w.flush.huge_inline():
            w.flush.flush_range(w, cpu, mm, index * FANOUT, FANOUT)


@step("set_pmd_at", "commit", takes="mm index deny mode entry")
def change_huge_commit(w: World, cpu: int, s: Step) -> None:
    _, mm, index, deny, mode, old = s
    first = index * FANOUT
    vma = w.vma[mm][first]
    new = changed_entry(old, vma, mode) | PSE
    if mode == MPROTECT and can_change_writable(w, vma, new, pages=FANOUT):
        new |= RW
    set_pmd_leaf(w, cpu, mm, index, new)
    for i in range(FANOUT):
        w.observer.visit(cpu, mm, first + i, deny >> DENY_BITS * i & VM_RIGHTS)
    w.flush.huge_changed(w, cpu, mm, first, old, new)
