"""The page tables of an address space: the places of entries, and the only functions that store one.

Every store goes through set_pte, set_pmd_leaf, set_pmd_table or clear_pmd, so the observer and the flush strategy see
each one.
"""

from typing import Final

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    MIGRATION,
    NX,
    PAT_LARGE,
    PKEY_SHIFT,
    PRESENT,
    PROTNONE,
    PSE,
    RW,
    SOFT_DIRTY,
    SOFTW1,
    SWAP,
    SWP_SOFT_DIRTY,
    SWP_UFFD_WP,
    UFFD_WP,
    UFFD_WP_MARKER,
    USER,
)
from shootdown.machine.geometry import FANOUT, FRAME_BITS, TABLES, frame_of
from shootdown.mm.frames import alloc_zeroed
from shootdown.mm.observer import KEY_SHIFT
from shootdown.mm.state import (
    NOBODY,
    VM_EXEC,
    VM_FILE,
    VM_MAPPED,
    VM_PKEY,
    VM_PKEY_SHIFT,
    VM_READ,
    VM_RIGHTS,
    VM_SHARED,
    VM_SOFTDIRTY,
    VM_UFFD_WP,
    VM_WRITE,
)
from shootdown.mm.world import World

TABLE_BITS: Final = PRESENT | RW | USER | ACCESSED | DIRTY
"""The bits that Linux sets in an entry that points to a table (_PAGE_TABLE); the leaf decides about rights."""


_BORN_WRITABLE: Final = VM_SHARED | VM_WRITE | VM_SOFTDIRTY
_WRITABLE_MASK: Final = _BORN_WRITABLE | VM_FILE | VM_UFFD_WP


def pmd_at(w: World, mm: int, index: int) -> int:
    """Return the place in memory of entry `index` of the PMD table of `mm`."""
    return w.root[mm] << 2 | index


def pmd_of(w: World, mm: int, index: int) -> int:
    """Return entry `index` of the PMD table of `mm`; 0 if there is no such address space.

    A kernel thread that found an entry through the rmap may be too late: exit may have freed the tables meanwhile.
    """
    root = w.root[mm]
    return w.machine.memory[root << 2 | index] if root >= 0 else 0


def pte_at(w: World, mm: int, page: int) -> int:
    """Return the place in memory of the page's PTE, or -1 if no page table covers the page."""
    pmd = w.machine.memory[w.root[mm] << 2 | page >> 2]
    if pmd & PSE or not pmd & PRESENT:
        return -1
    return ((pmd >> 19) & 60 | (pmd >> 12) & 3) << 2 | page & 3


def pte_of(w: World, mm: int, page: int) -> int:
    """Return the page's PTE, 0 if no page table covers the page, or if there is no such address space."""
    memory = w.machine.memory
    root = w.root[mm]
    if root < 0:
        return 0
    pmd = memory[root << 2 | page >> 2]
    if pmd & (PRESENT | PSE) != PRESENT:
        return 0
    return memory[((pmd >> 19) & 60 | (pmd >> 12) & 3) << 2 | page & 3]


def leaf_of(w: World, mm: int, page: int) -> int:
    """Return the entry that decides about the page: its PTE, the huge PMD above it, or 0."""
    memory = w.machine.memory
    entry = memory[w.root[mm] << 2 | page >> 2]
    if entry & PSE:
        return entry | (page & 3) << 12
    return (
        memory[((entry >> 19) & 60 | (entry >> 12) & 3) << 2 | page & 3] if entry & PRESENT else 0
    )


def is_migration(entry: int) -> bool:
    """Return whether the entry is a migration entry: not present, and marked."""
    return not entry & (PRESENT | PROTNONE) and bool(entry & MIGRATION)


def is_swap(entry: int) -> bool:
    """Return whether the entry is a swap entry, whose slot frame_of returns."""
    return not entry & (PRESENT | PROTNONE) and bool(entry & SWAP)


def is_marker(entry: int) -> bool:
    """Return whether nothing is mapped and userfaultfd gets the next store (pte_is_uffd_wp_marker)."""
    return entry == UFFD_WP_MARKER


def has_table(w: World, mm: int, index: int) -> bool:
    """Return whether entry `index` of the PMD table of `mm` points to a page table."""
    return pmd_of(w, mm, index) & (PRESENT | PSE) == PRESENT


def maps(entry: int, frame: int) -> bool:
    """Return whether the entry, present or PROTNONE, maps the frame; a swap entry may have a slot of that number."""
    return bool(entry & (PRESENT | PROTNONE)) and frame_of(entry) == frame


def is_special(entry: int) -> bool:
    """Return whether the entry maps no normal page, but the zero page or a driver's page (pte_special, vm_normal_page).

    The entry is not counted, so it keeps no frame alive, and nothing looks for the frame to move or to reclaim it.
    """
    return bool(entry & SOFTW1)


def swp_marks(pte: int) -> int:
    """Return the marks of userfaultfd and of soft-dirty tracking that a swap or migration entry keeps."""
    return (SWP_UFFD_WP if pte & UFFD_WP else 0) | (SWP_SOFT_DIRTY if pte & SOFT_DIRTY else 0)


def set_pte(w: World, cpu: int, mm: int, page: int, entry: int) -> None:
    """Store the page's PTE; a page table must cover the page, and no other CPU may hold its lock.

    A section with one store is a single step, which finds the lock free and does not take it (mm.locks).
    """
    holder = w.ptl[mm * TABLES + page // FANOUT]
    if holder not in (cpu, NOBODY):
        w.observer.lock_missing(cpu, mm, page)
    w.machine.memory[pte_at(w, mm, page)] = entry
    w.observer.commit(mm, page, entry)
    w.flush.pte_stored(w, cpu, mm, page)


def set_pmd_leaf(w: World, cpu: int, mm: int, index: int, entry: int) -> None:
    """Store a huge leaf, or 0, as entry `index` of the PMD table."""
    w.machine.memory[w.root[mm] << 2 | index] = entry
    # The translation of one page of 4 KiB has its frame number where the huge leaf has PAT_LARGE.
    first = entry & ~PAT_LARGE if entry & PRESENT else 0
    for i in range(FANOUT):
        page = index * FANOUT + i
        w.observer.commit(mm, page, first and first | i << 12)
        w.flush.pte_stored(w, cpu, mm, page)


def set_pmd_table(w: World, cpu: int, mm: int, index: int, frame: int) -> None:
    """Point entry `index` of the PMD table to the page table in `frame`."""
    w.machine.memory[w.root[mm] << 2 | index] = FRAME_BITS[frame] | TABLE_BITS
    for i in range(FANOUT):
        page = index * FANOUT + i
        entry = w.machine.memory[frame << 2 | i]
        if entry:
            w.observer.commit(mm, page, entry)
            w.flush.pte_stored(w, cpu, mm, page)


def clear_pmd(w: World, cpu: int, mm: int, index: int) -> None:
    """Remove the page table of entry `index`, which maps nothing any more."""
    w.machine.memory[w.root[mm] << 2 | index] = 0
    w.flush.pte_stored(w, cpu, mm, index * FANOUT)


def new_table(w: World) -> int:
    """Return the frame of an empty page table."""
    return alloc_zeroed(w)


def page_prot(vma: int) -> int:
    """Return the rights of a region as PTE bits, with its protection key (vm_page_prot).

    Only a shared region has RW; for others a fault or mkwrite adds it. A shared region has no RW either if clear_refs,
    the file (page_mkwrite) or userfaultfd must see the first store to each page (vma_wants_writenotify).
    Without any right the result is PAGE_NONE: ACCESSED and PROTNONE (linux-tlb A.1).
    A region with WRITE or EXEC alone is readable, as on x86.
    """
    key = (vma & VM_PKEY) << PKEY_SHIFT - VM_PKEY_SHIFT
    if not vma & VM_RIGHTS:
        return ACCESSED | PROTNONE | key
    writable = RW if vma & _WRITABLE_MASK == _BORN_WRITABLE else 0
    return PRESENT | USER | ACCESSED | writable | (0 if vma & VM_EXEC else NX) | key


def accessible(vma: int) -> bool:
    """Return whether some access is allowed (vma_is_accessible)."""
    return bool(vma & VM_RIGHTS)


def rights(vma: int) -> int:
    """Return the kinds of access that the region allows on x86; WRITE or EXEC imply READ."""
    allowed = vma & VM_RIGHTS
    return allowed | VM_READ if allowed else 0


def allowance(vma: int) -> int:
    """Return the rights of a region, for the observer, with its protection key above them; -1 for a hole."""
    if not vma & VM_MAPPED:
        return -1
    return rights(vma) | (vma & VM_PKEY) >> VM_PKEY_SHIFT - KEY_SHIFT
