"""fork: a child address space that shares the parent's private pages, write-protected in both.

The parent is flushed once, at the end and before its mmap_lock is released, so no fault of the parent is served before
the flush (linux-tlb C, G.14).
"""

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    MIGRATION_WRITE,
    PRESENT,
    PROTNONE,
    PSE,
    RW,
    SWP_EXCLUSIVE,
    SWP_UFFD_WP,
    UFFD_WP,
)
from shootdown.machine.geometry import FANOUT, PAGES, TABLES, frame_of
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.frames import get_page
from shootdown.mm.locks import pmd_lock, pmd_unlock, pte_lock, pte_unlock, write_trylock
from shootdown.mm.operation import due_return, write_unlock_return
from shootdown.mm.page_mask import ALL_PAGES
from shootdown.mm.pfnmap import link
from shootdown.mm.state import MMS, VM_MAPPED, VM_PFNMAP, VM_SHARED, VM_UFFD_WP, VM_WRITE, Step
from shootdown.mm.step import push, step
from shootdown.mm.swap import copy_swap_entry
from shootdown.mm.tables import (
    allowance,
    is_swap,
    new_table,
    pmd_of,
    pte_of,
    set_pmd_leaf,
    set_pmd_table,
    set_pte,
)
from shootdown.mm.world import World


def start_fork(w: World, cpu: int, _page: int, _count: int, _arg: int) -> None:
    """Begin fork of the CPU's address space; it fails without a free address space (EAGAIN)."""
    mm = w.task_mm[cpu]
    push(
        w,
        cpu,
        (dup_mmap, mm),
        (write_unlock_return, mm),
    )


Operation(
    number=8,
    name="fork",
    start=start_fork,
    summary="copy the address space, write-protecting both sides",
    pages="none",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.WRITE,
    access=False,
    rank=2,
    weight=7,
    layouts=(),
    needs=(),
    shares=(
        "rights of an entry",
        "a page that is copied",
        "pages of a driver",
        "loaded address space",
    ),
    holds_page=False,
    simpler_as=(),
)


@step("mmap_write_lock, dup_mmap", "lock")
def dup_mmap(w: World, cpu: int, s: Step) -> bool:
    """Copy the regions, without userfaultfd, which a child does not inherit; then the tables."""
    _, mm = s
    if w.i_mmap_lock and any(vma & VM_PFNMAP for vma in w.vma[mm]):
        return True
    if not write_trylock(w, mm, ALL_PAGES):
        return True
    child = next((i for i in range(MMS) if w.root[i] < 0), -1)
    if child < 0:
        return False
    w.root[child] = new_table(w)
    for page in range(PAGES):
        vma = w.vma[mm][page] & ~VM_UFFD_WP
        w.vma[child][page] = vma
        link(w, child, page)
        if vma & VM_MAPPED:
            w.observer.region(cpu, child, page, allowance(vma))
    copies = [(copy_pmd, mm, child, index) for index in range(TABLES)]
    push(w, cpu, *copies, (flush_parent, mm), (due_return,), (fork_end, child))
    return False


@step("copy_pmd_range", "check")
def copy_pmd(w: World, cpu: int, s: Step) -> None:
    _, mm, child, index = s
    pmd = pmd_of(w, mm, index)
    if pmd & PSE:
        push(
            w,
            cpu,
            (pmd_lock, mm),
            (copy_huge_pmd, mm, child, index),
            (pmd_unlock, mm),
        )
    elif pmd:
        set_pmd_table(w, cpu, child, index, new_table(w))
        pages = range(index * FANOUT, (index + 1) * FANOUT)
        push(
            w,
            cpu,
            (pte_lock, mm, index),
            (pte_lock, child, index),
            *[(copy_pte, mm, child, page) for page in pages],
            (pte_unlock, child, index),
            (pte_unlock, mm, index),
        )
    else:
        for page in range(index * FANOUT, (index + 1) * FANOUT):
            deny_writes(w, cpu, mm, page)


def deny_writes(w: World, cpu: int, mm: int, page: int) -> None:
    """Promise, for the parent's page, mapped or not, that no store reaches its private memory after the copy."""
    if w.vma[mm][page] & (VM_SHARED | VM_WRITE) == VM_WRITE:
        w.observer.visit(cpu, mm, page, VM_WRITE)


@step("copy_present_pte", "change")
def copy_pte(w: World, cpu: int, s: Step) -> None:
    """Write-protect a private page in the parent and give the child the same frame.

    Shared pages are left to the child's faults, except those of a driver, which may have no fault handler
    (vma_needs_copy).
    """
    _, mm, child, page = s
    vma = w.vma[mm][page]
    if vma & VM_PFNMAP:
        copy_pfn(w, cpu, mm, child, page)
        return
    if vma & VM_SHARED or not vma:
        return
    pte = pte_of(w, mm, page)
    deny_writes(w, cpu, mm, page)
    if not pte:
        return
    if is_swap(pte):
        copy_swap_entry(w, mm, child, pte)
        if pte & SWP_EXCLUSIVE:
            set_pte(w, cpu, mm, page, pte & ~SWP_EXCLUSIVE)
        set_pte(w, cpu, child, page, pte & ~(SWP_UFFD_WP | SWP_EXCLUSIVE))
        return
    if not pte & (PRESENT | PROTNONE):
        set_pte(w, cpu, mm, page, pte & ~MIGRATION_WRITE)
        # The object's frame is still the one that the migration entry names.
        w.observer.object_fork(mm, child, frame_of(pte))
        set_pte(w, cpu, child, page, pte & ~(MIGRATION_WRITE | SWP_UFFD_WP))
        return
    if pte & RW:
        set_pte(w, cpu, mm, page, pte & ~RW)
        w.observer.visit(cpu, mm, page, VM_WRITE)
    get_page(w, frame_of(pte))
    w.observer.object_fork(mm, child, frame_of(pte))
    set_pte(w, cpu, child, page, pte & ~(RW | ACCESSED | UFFD_WP))


def copy_pfn(w: World, cpu: int, mm: int, child: int, page: int) -> None:
    """Give the child the same entry without A and D; the parent keeps its own."""
    pte = pte_of(w, mm, page)
    if pte:
        w.observer.object_shared(child, frame_of(pte))
        set_pte(w, cpu, child, page, pte & ~(ACCESSED | DIRTY))


@step("copy_huge_pmd", "change")
def copy_huge_pmd(w: World, cpu: int, s: Step) -> None:
    """Copy a huge PMD under the PMD lock of the parent; return to the page-table copy if it was split meanwhile."""
    _, mm, child, index = s
    pmd = pmd_of(w, mm, index)
    if not pmd & PSE:
        push(w, cpu, (pmd_unlock, mm), (copy_pmd, mm, child, index), (pmd_lock, mm))
        return
    first = index * FANOUT
    set_pmd_leaf(w, cpu, mm, index, pmd & ~RW)
    for i in range(FANOUT):
        get_page(w, frame_of(pmd) + i)
        w.observer.object_fork(mm, child, frame_of(pmd) + i)
        deny_writes(w, cpu, mm, first + i)
    set_pmd_leaf(w, cpu, child, index, pmd & ~(RW | ACCESSED | UFFD_WP))


@step("flush_tlb_mm", "check")
def flush_parent(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    w.flush.defer(w, cpu, mm, 0, PAGES)


@step("fork returns the child", "check")
def fork_end(w: World, cpu: int, s: Step) -> None:
    _, child = s
    w.live[child] = True
    w.observer.forked(cpu, child)
