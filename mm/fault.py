"""The page-fault handler: exc_page_fault, handle_mm_fault and handle_pte_fault.

The handler runs under the lock of the VMA for reading. It either makes the access possible, which is then tried again,
or delivers the fault to the program.
If a lock protects one change that others can see, one step takes the lock, makes the change and releases the lock (see
mm.locks).
A fault that finds nothing to change is spurious; on x86 the fault itself has dropped the entry that caused it.
"""

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    PRESENT,
    PROTNONE,
    PSE,
    RW,
    SOFT_DIRTY,
    SOFTW1,
    UFFD_WP,
    WRITE,
)
from shootdown.machine.geometry import FANOUT, FRAME_BITS, TABLES, frame_of
from shootdown.machine.x86 import PF_INSTR, PF_PK, PF_PROT, PF_WRITE
from shootdown.mm.cow import do_wp_page, wp_huge
from shootdown.mm.deliver import deliver_signal, give_up
from shootdown.mm.fault_handler import FaultHandler
from shootdown.mm.frames import alloc_zeroed, get_page
from shootdown.mm.locks import (
    fault_lock,
    fault_unlock,
    fault_waits,
    pmd_lock,
    pmd_unlock,
    pte_lock,
    pte_unlock,
)
from shootdown.mm.numa_fault import do_numa_page, fault_on_huge
from shootdown.mm.page_cache import map_folio, read_folio
from shootdown.mm.pfnmap import driver_frame
from shootdown.mm.pgtable import pte_alloc
from shootdown.mm.pkeys import key_denies
from shootdown.mm.state import (
    NOBODY,
    SPURIOUS,
    VM_EXEC,
    VM_FILE,
    VM_MAPPED,
    VM_PFNMAP,
    VM_PGOFF_SHIFT,
    VM_PKEY,
    VM_SHARED,
    VM_WRITE,
    WRITER,
    ZERO_FRAME,
    Step,
)
from shootdown.mm.step import push, step
from shootdown.mm.swap_in import do_swap_page
from shootdown.mm.tables import (
    accessible,
    allowance,
    is_marker,
    is_migration,
    is_swap,
    page_prot,
    pmd_of,
    pte_of,
    set_pte,
)
from shootdown.mm.thp import huge_possible, install_huge
from shootdown.mm.world import World


def access_error(w: World, vma: int, code: int) -> bool:
    """Return whether the region denies an access that faulted with the error code.

    Linux asks for VM_WRITE for a store, takes every other access that hit a present entry for an error, and lets the
    rest pass if the region allows anything at all; it never asks about VM_EXEC (access_error in arch/x86/mm/fault.c of
    6.1, 6.12 and 7.3; a running 6.18 does the same).
    So a fetch that a stale NX denies ends in SIGSEGV (linux-tlb A.2 (1) defect 5), and a fetch that the region denies
    populates a page that is absent, and is denied when it is tried again.
    """
    if code & PF_INSTR and w.flush.handler is FaultHandler.EXEC_CHECK:
        return not vma & VM_EXEC
    if code & PF_WRITE:
        return not vma & VM_WRITE
    if code & PF_PROT:
        return True
    return not accessible(vma)


@step("page fault", "fault")
def fault_enter(w: World, cpu: int, s: Step) -> bool:
    """Lock the region, which cannot change while its lock is held (lock_vma_under_rcu).

    If there is no region, or it is locked for writing, mmap_lock is taken for reading instead, which waits for the
    writer. The same holds for a driver's region, whose handler may need mmap_lock (vmf_can_call_fault).
    A denied access changes nothing that others see, so it ends here (bad_area).
    """
    _, page, kind, code = s
    mm = w.task_mm[cpu]
    if w.mmap_lock[mm] == WRITER and fault_waits(w, mm, page):
        return True
    vma = w.vma[mm][page]
    if (
        not vma & VM_MAPPED
        or ((vma & VM_PKEY or code & PF_PK) and key_denies(w, cpu, vma, kind, code))
        or access_error(w, vma, code)
    ):
        w.observer.denied(cpu, page, kind, allowance(vma))
        give_up(w, cpu)
        return False
    fault_lock(w, mm, page)
    w.steps[cpu].append((fault_done, mm, page))
    handle_mm_fault(w, cpu, page, kind, code)
    return False


@step("vma_end_read, retry", "unlock")
def fault_done(w: World, cpu: int, s: Step) -> None:
    """End a fault inside a user access: the fault's promises hold from here, and the access follows."""
    _, mm, page = s
    fault_unlock(w, mm, page)
    w.observer.close(cpu)


@step("handle_mm_fault", "fault")
def fault_again(w: World, cpu: int, s: Step) -> None:
    _, page, kind, code = s
    handle_mm_fault(w, cpu, page, kind, code)


def handle_mm_fault(w: World, cpu: int, page: int, kind: int, code: int) -> None:
    """Choose the handler by the entries, read without their locks; each handler looks again under the lock."""
    mm = w.task_mm[cpu]
    index = page // FANOUT
    pmd = pmd_of(w, mm, index)
    if not pmd:
        if huge_possible(w, mm, index):
            push(w, cpu, (pmd_lock, mm), (install_huge, page, kind), (pmd_unlock, mm))
        else:
            push(w, cpu, (pte_alloc, mm, index), (fault_again, page, kind, code))
    elif not pmd & PSE:
        handle_pte_fault(w, cpu, page, kind, code, pmd)
    elif pmd & PROTNONE and not pmd & PRESENT:
        fault_on_huge(w, cpu, page, pmd)
    elif not pmd & PRESENT:
        # A split or a protection change that holds the PMD lock has invalidated it: wait for the lock, then try again.
        push(w, cpu, (pmd_lock, mm), (pmd_unlock, mm))
    elif kind == WRITE and not pmd & RW:
        push(w, cpu, (pmd_lock, mm), (wp_huge, page, pmd))
    else:
        _spurious(w, cpu, mm)


def _spurious(w: World, cpu: int, mm: int) -> None:
    w.costs[SPURIOUS] += 1
    w.flush.spurious_fault(w, cpu, mm)


def handle_pte_fault(w: World, cpu: int, page: int, kind: int, code: int, pmd: int) -> None:
    """Choose the handler for an entry of 4 KiB, as handle_mm_fault does; `pmd` points to the page table."""
    mm = w.task_mm[cpu]
    index = page // FANOUT
    pte = w.machine.memory[frame_of(pmd) << 2 | page % FANOUT]
    if not pte or is_marker(pte):
        w.steps[cpu].append((fault_missing, page, kind, pmd))
    elif pte & (PRESENT | PROTNONE):
        push(w, cpu, (pte_lock, mm, index), (fault_present, page, kind, code, pte))
    elif is_swap(pte):
        push(w, cpu, (do_swap_page, page, kind, pte))
    else:
        push(w, cpu, (migration_entry_wait, mm, page))


@step("migration_entry_wait", "lock")
def migration_entry_wait(w: World, _cpu: int, s: Step) -> bool:
    _, mm, page = s
    return is_migration(pte_of(w, mm, page))


@step("do_anonymous_page", "install", takes="page kind entry")
def fault_missing(w: World, cpu: int, s: Step) -> bool:
    """Map a page of zeros, or of the object, under the PTL, if the PMD is still the one that the fault has read; else
    the access faults again.

    In the place of a marker the page is write-protected, so that a store faults again and is reported.
    """
    _, page, kind, pmd = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    if w.ptl[mm * TABLES + index] != NOBODY:
        return True
    table = w.flush.faulted_table(w, mm, index, pmd)
    if table < 0:
        return False
    pte = w.machine.memory[table << 2 | page % FANOUT]
    if pte and not is_marker(pte):
        return False
    vma = w.vma[mm][page]
    entry = page_prot(vma)
    dirty = RW | DIRTY | SOFT_DIRTY if kind == WRITE else 0
    if vma & VM_FILE:
        frame = read_folio(w, vma >> VM_PGOFF_SHIFT)
        if w.page_lock >> frame & 1:
            return True
        map_folio(w, mm, page, frame, written=kind == WRITE)
    elif vma & VM_PFNMAP:
        if w.i_mmap_lock > 0:
            return True
        frame = driver_frame(w, mm, vma >> VM_PGOFF_SHIFT)
        # insert_pfn: when the store is tried again, it sets DIRTY.
        entry |= SOFTW1
        dirty = 0
    elif vma & VM_SHARED:
        slot = vma >> VM_PGOFF_SHIFT
        frame = w.shared[slot]
        if frame < 0:
            frame = w.shared[slot] = alloc_zeroed(w)
        get_page(w, frame)
        w.observer.object_shared(mm, frame)
    elif kind == WRITE:
        frame = alloc_zeroed(w)
        w.observer.object_new(mm, page, frame)
    else:
        frame = ZERO_FRAME
        entry |= SOFTW1
    entry |= FRAME_BITS[frame] | dirty
    if is_marker(pte):
        entry = entry & ~RW | UFFD_WP
    if pmd_of(w, mm, index) == pmd:
        set_pte(w, cpu, mm, page, entry)
    else:
        w.machine.memory[table << 2 | page % FANOUT] = entry
    return False


@step("handle_pte_fault, PTE present", "fault", takes="page kind code entry")
def fault_present(w: World, cpu: int, s: Step) -> None:
    _, page, kind, code, seen_pte = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    pte = pte_of(w, mm, page)
    if pte != seen_pte:
        push(w, cpu, (pte_unlock, mm, index))
    elif not pte & PRESENT:
        # PROTNONE in a region that allows the access: a hint.
        push(w, cpu, (do_numa_page, page, pte))
    elif kind == WRITE and not pte & RW:
        push(w, cpu, (do_wp_page, page, pte))
    elif code & PF_PROT and w.flush.report_spurious:
        w.observer.denied(cpu, page, kind, allowance(w.vma[mm][page]))
        deliver_signal(w, cpu, page, (pte_unlock, mm, index))
    else:
        _spurious(w, cpu, mm)
        young = pte | ACCESSED | (DIRTY | SOFT_DIRTY if kind == WRITE else 0)
        if young != pte:
            set_pte(w, cpu, mm, page, young)
        push(w, cpu, (pte_unlock, mm, index))
