"""Faults around temporary address spaces: in what they save and restore."""

from shootdown.machine.x86 import NO_ROOT
from shootdown.mm.state import GONE_MM, Step
from shootdown.mm.step import step
from shootdown.mm.text_poke import poking_root
from shootdown.mm.world import World
from shootdown.optimized.state import X86State
from shootdown.optimized.strategy import GatherFlush
from shootdown.optimized.switch import load_table, push_switch


class RestoresBorrowed(GatherFlush):
    """A lazy CPU returns to the space that it had borrowed (before abee7c494d8c).

    Meanwhile nothing shows that it will return: the switch of that time took the CPU out of the mask of the space that
    it left (cpumask_clear_cpu), and CR3 has another value.
    """

    def way_back(self, w: World, cpu: int) -> Step:
        mm = w.loaded_mm[cpu]
        if not w.lazy[cpu] or mm < 0:
            return super().way_back(w, cpu)
        state: X86State = w.flush_state
        state.cpumask[mm] &= ~(1 << cpu)
        return (restore_borrowed, mm, w.machine.cr3[cpu])


@step("unuse_temporary_mm: the borrowed mm", "switch", takes="mm frame")
def restore_borrowed(w: World, cpu: int, s: Step) -> None:
    """Load the table again that was loaded, because another address space may have its number meanwhile."""
    _, mm, root = s
    if w.root[mm] == root:
        push_switch(w, cpu, mm)
        return
    w.loaded_mm[cpu] = GONE_MM
    w.lazy[cpu] = w.irqs_off[cpu] = False
    load_table(w, cpu, mm, root, w.machine.pcid[cpu], flush=True)


class RawCr3(GatherFlush):
    """Code without ASIDs loads the temporary space, under PCID 0, and saves and restores CR3 (before 52a2af400c10).

    Neither write of CR3 has bit 63 set, so each empties the PCID that it loads.
    """

    def way_back(self, w: World, cpu: int) -> Step:
        machine = w.machine
        if w.lazy[cpu] or machine.cr3[cpu] == NO_ROOT:
            return super().way_back(w, cpu)
        return (write_saved_cr3, machine.cr3[cpu], machine.pcid[cpu])

    def load_temporary(self, w: World, cpu: int) -> None:
        if w.lazy[cpu]:
            super().load_temporary(w, cpu)
        else:
            w.machine.load_cr3(cpu, poking_root(w), 0, noflush=False)


@step("write_cr3(saved)", "cr3", takes="frame asid")
def write_saved_cr3(w: World, cpu: int, s: Step) -> None:
    _, root, pcid = s
    w.machine.load_cr3(cpu, root, pcid, noflush=False)
    w.irqs_off[cpu] = False
