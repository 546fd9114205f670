"""Faults in the gather: in its record, in the moment of its flush, in what it frees."""

from shootdown.machine.entry import DIRTY, PRESENT
from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.mm.frames import free_table
from shootdown.mm.page_cache import drop_rmap, remove_rmap
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World
from shootdown.optimized.gathers import free_of, gather_end
from shootdown.optimized.state import Gather, X86State
from shootdown.optimized.strategy import GatherFlush


class DropLastPage(GatherFlush):
    """The recorded range ends one page early."""

    def flush_of(self, gather: Gather) -> list[Step]:
        gather.end = gather.end - 1 if gather.end - gather.start > 1 else 0
        return super().flush_of(gather)


class FreeBeforeFlush(GatherFlush):
    """The batch is freed, then flushed."""

    def finish_steps(self, gather: Gather) -> list[Step]:
        return [*free_of(gather), *self.flush_of(gather), (gather_end,)]


class LoseBatch(GatherFlush):
    """A full batch resets the recorded range without a flush; its pages stay queued."""

    def gather_flush(self, w: World, cpu: int) -> None:
        gather = self.gather_of(w, cpu)
        gather.reset_range()


class LeakBatch(GatherFlush):
    """A full batch is flushed, and its queued pages are forgotten instead of freed."""

    def gather_flush(self, w: World, cpu: int) -> None:
        gather = self.gather_of(w, cpu)
        push(w, cpu, *self.flush_of(gather))
        gather.reset_range()
        gather.pages.clear()


class SkipDirtyClear(GatherFlush):
    """An entry that stays present and only loses DIRTY and ACCESSED is not recorded."""

    def entry_cleared(
        self, w: World, cpu: int, mm: int, page: int, count: int, old: int, new: int
    ) -> None:
        if new & PRESENT and (old ^ new) & DIRTY:
            w.observer.skipped(cpu, mm, page, old, new)
        else:
            super().entry_cleared(w, cpu, mm, page, count, old, new)


class LeakPending(GatherFlush):
    """A protection change raises tlb_flush_pending more often than it lowers it (patch 1/2 of the posted series)."""

    def protection_changed(
        self, w: World, cpu: int, mm: int, page: int, old: int, new: int
    ) -> None:
        super().protection_changed(w, cpu, mm, page, old, new)
        state: X86State = w.flush_state
        state.pending[mm] += 1


class HugeUnrecorded(GatherFlush):
    """A huge PMD is neither flushed inline nor recorded in the gather."""

    def huge_changed(self, w: World, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        for i in range(FANOUT):
            w.observer.skipped(cpu, mm, page + i, old, new)


class DecBeforeFlush(GatherFlush):
    """The gather says that nothing is pending any more, and flushes afterwards."""

    def gather_finish(self, w: World, cpu: int) -> None:
        super().gather_finish(w, cpu)
        state: X86State = w.flush_state
        state.pending[self.gather_of(w, cpu).mm] -= 1

    def finish_steps(self, gather: Gather) -> list[Step]:
        return [*self.flush_of(gather), *free_of(gather), (gather_forget,)]


@step("the gather is gone", "return")
def gather_forget(w: World, cpu: int, _s: Step) -> None:
    state: X86State = w.flush_state
    state.gathers[cpu] = None


class PendingCleared(GatherFlush):
    """tlb_flush_pending is a bool, which the first gather to end clears (before 16af97dc5a89)."""

    def finish_steps(self, gather: Gather) -> list[Step]:
        return [*self.flush_of(gather), *free_of(gather), (pending_false,)]


@step("clear_tlb_flush_pending", "return")
def pending_false(w: World, cpu: int, _s: Step) -> None:
    state: X86State = w.flush_state
    gather = state.gathers[cpu]
    assert gather is not None, "only steps of an open gather close it"
    state.pending[gather.mm] = 0
    state.gathers[cpu] = None


class NestedLevelLost(GatherFlush):
    """The full flush of a nested gather resets the record, even the mark of freed tables (before 7a30df49f63a)."""

    def gather_finish(self, w: World, cpu: int) -> None:
        gather = self.gather_of(w, cpu)
        if self.is_nested(w, gather):
            gather.start, gather.end, gather.freed_tables = 0, PAGES, False
            push(w, cpu, *self.finish_steps(gather))
        else:
            super().gather_finish(w, cpu)


class TableFreedAtOnce(GatherFlush):
    """A page table is freed without a batch, and the cached upper entries stay (before 0ed1325967ab)."""

    def table_removed(self, w: World, cpu: int, mm: int, index: int, frame: int) -> None:
        free_table(w, mm, index, frame)


class ZapUnlockBeforeFlush(GatherFlush):
    """A zap unmaps a dirty folio, releases the PTL, and flushes at the gather's end (before 1cf35d47712d)."""

    def dirty_folio_unmapped(self, w: World, cpu: int, mm: int, page: int) -> None:
        remove_rmap(w, mm, page)


class RmapBeforeFlush(GatherFlush):
    """A zap drops a dirty folio's rmap, and flushes after that (before 5df397dec7c4)."""

    def dirty_folio_unmapped(self, w: World, cpu: int, mm: int, page: int) -> None:
        super().dirty_folio_unmapped(w, cpu, mm, page)
        push(w, cpu, (drop_rmap, mm, page))


class EmptyNeverNested(GatherFlush):
    """A gather that has recorded nothing does not look for other open gathers (before 4647706ebeee)."""

    def is_nested(self, w: World, gather: Gather) -> bool:
        return gather.end > 0 and super().is_nested(w, gather)
