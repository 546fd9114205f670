"""Transparent huge pages: a fault maps them, and a change of a part of the 2 MiB splits them.

A protection change of the whole page is in mm/change_protection.py, a zap of the whole page in mm/zap.py.
"""

from typing import Final

from shootdown.machine.entry import DIRTY, PRESENT, PROTNONE, PSE, RW, SOFT_DIRTY, SOFTW1, WRITE
from shootdown.machine.geometry import FANOUT, FRAME_BITS, FRAMES, frame_of
from shootdown.mm.frames import alloc_huge
from shootdown.mm.huge_zero import get_huge_zero, is_huge_zero, put_huge_zero
from shootdown.mm.state import NO_HUGE_ZERO, VM_HUGE, VM_RIGHTS, VM_WRITE, ZERO_FRAME, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import new_table, page_prot, pmd_of, set_pmd_leaf, set_pmd_table
from shootdown.mm.world import World

NOT_VALID: Final = ~(PRESENT | PROTNONE)


def huge_possible(w: World, mm: int, index: int) -> bool:
    """Return whether one region that allows huge pages covers the 2 MiB of entry `index` of the PMD table."""
    first = index * FANOUT
    vma = w.vma[mm][first]
    return (
        bool(vma & VM_HUGE)
        and first + FANOUT <= w.pages
        and w.vma[mm][first : first + FANOUT] == [vma] * FANOUT
    )


def mkinvalid(pmd: int) -> int:
    """Return the entry unusable for the hardware but not empty, so that no walk takes it for a hole (pmd_mkinvalid)."""
    return pmd & NOT_VALID


@step("do_huge_pmd_anonymous_page", "install")
def install_huge(w: World, cpu: int, s: Step) -> None:
    """Map 2 MiB of zeros; without a free block install a page table instead, and the access faults again.

    A read fault maps the huge zero page, or memory if that page is not used.
    """
    _, page, kind = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    if pmd_of(w, mm, index):
        return
    zeros = kind != WRITE and w.huge_zero != NO_HUGE_ZERO
    first = get_huge_zero(w) if zeros else alloc_huge(w)
    if first < 0:
        set_pmd_table(w, cpu, mm, index, new_table(w))
        return
    vma = w.vma[mm][page]
    if not zeros:
        for i in range(FANOUT):
            w.observer.object_new(mm, index * FANOUT + i, first + i)
    entry = FRAME_BITS[first] | page_prot(vma) | PSE
    if kind == WRITE and vma & VM_WRITE:
        entry |= RW | DIRTY | SOFT_DIRTY
    set_pmd_leaf(w, cpu, mm, index, entry)


@step("pmdp_invalidate", "change")
def split_huge(w: World, cpu: int, s: Step) -> None:
    """Invalidate the PMD, flush the 2 MiB, and then install a page table, under the PMD lock (__split_huge_pmd).

    The flush between the two keeps a processor from caching both sizes (linux-tlb E.2 entry 25, SDM 4.10.4.2).
    """
    _, mm, index = s
    pmd = pmd_of(w, mm, index)
    if not pmd & PSE:
        return
    set_pmd_leaf(w, cpu, mm, index, mkinvalid(pmd))
    push(w, cpu, (split_populate, mm, index, pmd))
    w.flush.flush_range(w, cpu, mm, index * FANOUT, FANOUT)


@step("pmd_populate", "install", takes="mm index entry")
def split_populate(w: World, cpu: int, s: Step) -> None:
    """Map the same frames one by one.

    The huge zero page is replaced by the zero page (__split_huge_zero_page_pmd), and the reference of its mapping,
    which has been flushed, is dropped.
    """
    _, mm, index, pmd = s
    table = new_table(w)
    rest = pmd & ~(FRAME_BITS[FRAMES - 1] | PSE)
    zeros = is_huge_zero(w, pmd)
    for i in range(FANOUT):
        small = FRAME_BITS[ZERO_FRAME] | SOFTW1 if zeros else FRAME_BITS[frame_of(pmd) + i]
        w.machine.memory[table << 2 | i] = small | rest
    set_pmd_table(w, cpu, mm, index, table)
    if zeros:
        # The frame changes, and no free proves that no load reads the old one: others may map it.
        for page in range(index * FANOUT, (index + 1) * FANOUT):
            w.observer.visit(cpu, mm, page, VM_RIGHTS)
        put_huge_zero(w)
