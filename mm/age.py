"""Page aging (folio_referenced): clear the accessed bit.

x86 does not flush for a page of 4 KiB, because a lost accessed bit costs only a wrong guess (ptep_clear_flush_young).
It flushes for a huge page (pmdp_clear_flush_young).
"""

from shootdown.machine.entry import ACCESSED, PRESENT, PROTNONE, PSE
from shootdown.machine.geometry import FANOUT
from shootdown.mm.arguments import SPACE
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.locks import pmd_lock, pmd_unlock, pte_lock, pte_unlock
from shootdown.mm.operation import op_return
from shootdown.mm.state import VM_PFNMAP, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import pmd_of, pte_of, set_pmd_leaf, set_pte
from shootdown.mm.world import World


def start_age(w: World, cpu: int, page: int, _count: int, mm: int) -> None:
    """Begin to age the page of `mm`, by a kernel thread; a driver's pages have no age (should_skip_vma)."""
    push(w, cpu, (age_begin, mm, page), (op_return,))


Operation(
    number=17,
    name="age",
    start=start_age,
    summary="clear the accessed bit of a page",
    pages="one",
    argument=SPACE,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=4,
    layouts=(),
    needs=(),
    shares=("rights of an entry",),
    holds_page=False,
    simpler_as=("migrate",),
)


@step("folio_referenced", "check")
def age_begin(w: World, cpu: int, s: Step) -> None:
    _, mm, page = s
    if not w.live[mm] or w.vma[mm][page] & VM_PFNMAP:
        return
    index = page // FANOUT
    pmd = pmd_of(w, mm, index)
    if pmd & PSE:
        push(w, cpu, (pmd_lock, mm), (age_huge, mm, index), (pmd_unlock, mm))
    elif pmd:
        push(w, cpu, (pte_lock, mm, index), (age_pte, mm, page), (pte_unlock, mm, index))


@step("ptep_clear_flush_young", "change")
def age_pte(w: World, cpu: int, s: Step) -> None:
    _, mm, page = s
    pte = pte_of(w, mm, page)
    if pte & (PRESENT | PROTNONE) and pte & ACCESSED:
        set_pte(w, cpu, mm, page, pte & ~ACCESSED)


@step("pmdp_clear_flush_young", "change")
def age_huge(w: World, cpu: int, s: Step) -> None:
    _, mm, index = s
    pmd = pmd_of(w, mm, index)
    if pmd & PSE and pmd & (PRESENT | PROTNONE) and pmd & ACCESSED:
        set_pmd_leaf(w, cpu, mm, index, pmd & ~ACCESSED)
        w.flush.flush_range(w, cpu, mm, index * FANOUT, FANOUT)
