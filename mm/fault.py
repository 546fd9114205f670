"""The page-fault handler: exc_page_fault, handle_mm_fault and handle_pte_fault.

The handler runs under mmap_lock for reading and either makes the access possible, and the access is tried again, or
delivers the fault to the program.
A fault that finds nothing to change was spurious; on x86 the fault itself has dropped the entry that caused it.
"""

from machine.entry import (
    ACCESSED,
    DIRTY,
    MIGRATION,
    PRESENT,
    PROTNONE,
    PSE,
    RW,
    SOFT_DIRTY,
    SOFTW1,
    WRITE,
)
from machine.geometry import FANOUT, FRAME_BITS
from machine.x86 import PF_INSTR, PF_PROT, PF_WRITE
from mm.cow import do_wp_page, wp_huge
from mm.deliver import deliver_signal
from mm.frames import alloc_frame, get_page, zero_frame
from mm.locks import mmap_read_lock, mmap_read_unlock, pmd_lock, pmd_unlock, pte_lock, pte_unlock
from mm.operation import op_close
from mm.step import Step, push, step
from mm.tables import (
    accessible,
    new_table,
    page_prot,
    pmd_of,
    pte_of,
    rights,
    set_pmd_table,
    set_pte,
)
from mm.thp import huge_possible, install_huge
from mm.world import (
    SPURIOUS,
    VM_EXEC,
    VM_MAPPED,
    VM_PGOFF_SHIFT,
    VM_SHARED,
    VM_WRITE,
    ZERO_FRAME,
    World,
)


@step("page fault", "fault")
def fault_enter(w: World, cpu: int, s: Step) -> None:
    _, page, kind, code = s
    push(w, cpu, (mmap_read_lock, w.task_mm[cpu]), (fault_vma, page, kind, code))


def access_error(w: World, vma: int, code: int) -> bool:
    """Return whether the region denies an access that faulted with the error code.

    Without exec_check a fetch that hits a present entry is taken for a read that the region denies, as before "x86/mm:
    check exec permissions on fault": so a spurious instruction fault ended in SIGSEGV (linux-tlb A.2 (1) defect 5).
    """
    if w.flush.exec_check and code & PF_INSTR:
        return not vma & VM_EXEC
    if code & PF_WRITE:
        return not vma & VM_WRITE
    if code & PF_PROT:
        return True
    return not accessible(vma)


@step("find_vma", "fault")
def fault_vma(w: World, cpu: int, s: Step) -> None:
    _, page, kind, code = s
    mm = w.task_mm[cpu]
    vma = w.vma[mm][page]
    if not vma & VM_MAPPED or access_error(w, vma, code):
        w.observer.denied(cpu, page, kind, rights(vma) if vma & VM_MAPPED else -1)
        deliver_signal(w, cpu, (mmap_read_unlock, mm))
    else:
        push(w, cpu, (fault_pmd, page, kind), (mmap_read_unlock, mm), (op_close,))


@step("handle_mm_fault", "fault")
def fault_pmd(w: World, cpu: int, s: Step) -> None:
    _, page, kind = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    pmd = pmd_of(w, mm, index)
    if not pmd:
        if huge_possible(w, mm, index):
            push(w, cpu, (pmd_lock, mm), (install_huge, page, kind), (pmd_unlock, mm))
        else:
            push(w, cpu, (pmd_lock, mm), (pte_alloc, mm, index), (pmd_unlock, mm), s)
    elif not pmd & PSE:
        push(w, cpu, (fault_pte, page, kind))
    elif not pmd & PRESENT:
        # Invalidated by a split or a protection change that holds the PMD lock: wait for it, then try again.
        push(w, cpu, (pmd_lock, mm), (pmd_unlock, mm))
    elif kind == WRITE and not pmd & RW:
        push(w, cpu, (pmd_lock, mm), (wp_huge, page, pmd))
    else:
        w.costs[SPURIOUS] += 1


@step("pte_alloc", "install")
def pte_alloc(w: World, cpu: int, s: Step) -> None:
    _, mm, index = s
    if not pmd_of(w, mm, index):
        set_pmd_table(w, cpu, mm, index, new_table(w))


@step("handle_pte_fault", "fault")
def fault_pte(w: World, cpu: int, s: Step) -> None:
    _, page, kind = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    pte = pte_of(w, mm, page)
    if not pte:
        push(w, cpu, (pte_lock, mm, index), (fault_missing, page, kind), (pte_unlock, mm, index))
    elif pte & (PRESENT | PROTNONE):
        push(w, cpu, (pte_lock, mm, index), (fault_present, page, kind, pte))
    else:
        push(w, cpu, (migration_entry_wait, mm, page))


@step("migration_entry_wait", "lock")
def migration_entry_wait(w: World, _cpu: int, s: Step) -> bool:
    pte = pte_of(w, s[1], s[2])
    return not pte & (PRESENT | PROTNONE) and bool(pte & MIGRATION)


@step("do_anonymous_page", "install")
def fault_missing(w: World, cpu: int, s: Step) -> None:
    _, page, kind = s
    mm = w.task_mm[cpu]
    # The table may have been replaced by a huge leaf's absence meanwhile: then the access simply faults again.
    if pmd_of(w, mm, page // FANOUT) & (PRESENT | PSE) != PRESENT or pte_of(w, mm, page):
        return
    vma = w.vma[mm][page]
    entry = page_prot(vma)
    dirty = RW | DIRTY | SOFT_DIRTY if kind == WRITE else 0
    if vma & VM_SHARED:
        slot = vma >> VM_PGOFF_SHIFT
        frame = w.shared[slot]
        if frame < 0:
            frame = w.shared[slot] = alloc_frame(w)
            zero_frame(w, frame)
        get_page(w, frame)
        w.observer.object_shared(mm, frame)
    elif kind == WRITE:
        frame = alloc_frame(w)
        zero_frame(w, frame)
        w.observer.object_new(mm, page, frame)
    else:
        frame = ZERO_FRAME
        entry |= SOFTW1
    set_pte(w, cpu, mm, page, FRAME_BITS[frame] | entry | dirty)


@step("handle_pte_fault, PTE present", "fault")
def fault_present(w: World, cpu: int, s: Step) -> None:
    _, page, kind, seen = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    pte = pte_of(w, mm, page)
    if pte != seen:
        push(w, cpu, (pte_unlock, mm, index))
    elif kind == WRITE and not pte & RW:
        push(w, cpu, (do_wp_page, page, pte))
    elif w.flush.report_spurious:
        w.observer.denied(cpu, page, kind, rights(w.vma[mm][page]))
        deliver_signal(w, cpu, (pte_unlock, mm, index), (mmap_read_unlock, mm))
    else:
        w.costs[SPURIOUS] += 1
        young = pte | ACCESSED | (DIRTY | SOFT_DIRTY if kind == WRITE else 0)
        if young != pte:
            set_pte(w, cpu, mm, page, young)
        push(w, cpu, (pte_unlock, mm, index))
