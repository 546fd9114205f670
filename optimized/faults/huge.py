"""Faults in the handling of huge pages."""

from shootdown.machine.geometry import FANOUT
from shootdown.mm.frames import put_page
from shootdown.mm.huge_zero import of_huge_zero
from shootdown.mm.tables import set_pmd_leaf
from shootdown.mm.world import World
from shootdown.optimized.strategy import GatherFlush


class NoneBeforeCopy(GatherFlush):
    """The PMD of a misplaced huge page is cleared and flushed before its copy is mapped (before d7c3393413fe)."""

    def replacing_huge(self, w: World, cpu: int, mm: int, index: int) -> None:
        set_pmd_leaf(w, cpu, mm, index, 0)
        self.flush_range(w, cpu, mm, index * FANOUT, FANOUT)


class HugeZeroPutEarly(GatherFlush):
    """A zap drops the reference of the huge zero page before it flushes (before aa88b68c3b1d)."""

    def page_removed(self, w: World, cpu: int, frame: int, count: int) -> bool:
        if not of_huge_zero(w, frame):
            return super().page_removed(w, cpu, frame, count)
        for each in range(frame, frame + count):
            put_page(w, each)
        return False
