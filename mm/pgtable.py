"""pte_alloc: install an empty page table."""

from shootdown.mm.state import NOBODY, Step
from shootdown.mm.step import step
from shootdown.mm.tables import new_table, pmd_of, set_pmd_table
from shootdown.mm.world import World


@step("pte_alloc", "install")
def pte_alloc(w: World, cpu: int, s: Step) -> bool:
    """Install an empty page table, under the PMD lock, unless another CPU has done so."""
    _, mm, index = s
    if w.pmd_lock[mm] != NOBODY:
        return True
    if not pmd_of(w, mm, index):
        set_pmd_table(w, cpu, mm, index, new_table(w))
    return False
