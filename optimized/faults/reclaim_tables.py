"""Faults in the freeing of page tables that MADV_DONTNEED has emptied (CONFIG_PT_RECLAIM)."""

from shootdown.machine.entry import PRESENT, PSE
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.world import World
from shootdown.optimized.state import X86State
from shootdown.optimized.strategy import GatherFlush


class ReclaimSparesLazy(GatherFlush):
    """The flush of a gather that has taken out an empty table does not say that it frees one."""

    def table_reclaimed(self, w: World, cpu: int, mm: int, index: int, frame: int) -> None:
        gather = self.gather_of(w, cpu)
        gather.record(index * FANOUT, FANOUT)
        gather.tables.append((index, frame))


class FilledUnhooked(GatherFlush):
    """A fault fills the table that it found before it took the PTL, although the PMD no longer names that table.

    The table is not free yet: the fault is a reader of RCU, and the gather holds the table.
    """

    def faulted_table(self, w: World, mm: int, index: int, pmd: int) -> int:
        state: X86State = w.flush_state
        table = frame_of(pmd)
        if pmd & (PRESENT | PSE) == PRESENT and any(
            gather is not None and gather.mm == mm and (index, table) in gather.tables
            for gather in state.gathers
        ):
            return table
        return super().faulted_table(w, mm, index, pmd)
