"""Page tables that are removed: a gather frees them after its flush, which reaches lazy CPUs and waits for walkers."""

from mypy_extensions import mypyc_attr

from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.tables import pmd_of
from shootdown.mm.world import World
from shootdown.optimized.gathers import GatherStrategy


@mypyc_attr(allow_interpreted_subclasses=True)
class PageTableStrategy(GatherStrategy):
    """The part mm.flush.PageTables."""

    def table_removed(self, w: World, cpu: int, mm: int, index: int, frame: int) -> None:
        gather = self.gather_of(w, cpu)
        gather.record(index * FANOUT, FANOUT)
        gather.freed_tables = True
        gather.tables.append((index, frame))

    def table_reclaimed(self, w: World, cpu: int, mm: int, index: int, frame: int) -> None:
        self.table_removed(w, cpu, mm, index, frame)

    def upper_tables_removed(self, w: World, cpu: int) -> None:
        """Record everything, so that the flush reaches lazy CPUs as well."""
        self.gather_of(w, cpu).record_all()

    def faulted_table(self, w: World, mm: int, index: int, pmd: int) -> int:
        return frame_of(pmd) if pmd_of(w, mm, index) == pmd else -1

    def collapse_syncs(self) -> bool:
        return True

    def collapse_defers_free(self) -> bool:
        return True

    def pmd_checked_again(self) -> bool:
        return True
