"""mmu_gather: the pages that an operation records while it changes entries, and flushes before it frees or returns.

The order is: remove, invalidate, free (linux-tlb B.1).
"""

from collections.abc import Callable

from mypy_extensions import mypyc_attr

from shootdown.mm.frames import free_table, put_page
from shootdown.mm.page_cache import drop_rmap
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World
from shootdown.optimized.deferral import DeferralStrategy
from shootdown.optimized.shootdown import flush_send
from shootdown.optimized.state import Gather, X86State


@mypyc_attr(allow_interpreted_subclasses=True)
class GatherStrategy(DeferralStrategy):
    """The part mm.flush.Gathers."""

    needs_flush: Callable[[int, int], bool]
    """The rule, which says whether the change of an entry from one value to another one needs a flush."""

    def gather_begin(self, w: World, cpu: int, mm: int) -> None:
        state: X86State = w.flush_state
        state.gathers[cpu] = Gather(mm)
        state.pending[mm] += 1

    def protection_changed(
        self, w: World, cpu: int, mm: int, page: int, old: int, new: int
    ) -> None:
        if self.needs_flush(old, new):
            self.record(w, cpu, page, 1)
        else:
            w.observer.skipped(cpu, mm, page, old, new)

    def entry_cleared(
        self, w: World, cpu: int, mm: int, page: int, count: int, old: int, new: int
    ) -> None:
        self.record(w, cpu, page, count)

    def record(self, w: World, cpu: int, first: int, count: int) -> None:
        """Widen the range of the CPU's gather (tlb_flush_pte_range)."""
        self.gather_of(w, cpu).record(first, count)

    def gather_of(self, w: World, cpu: int) -> Gather:
        """Return the CPU's open gather."""
        state: X86State = w.flush_state
        gather = state.gathers[cpu]
        assert gather is not None, "operations record from gather_begin to gather_finish only"
        return gather

    def page_removed(self, w: World, cpu: int, frame: int, count: int) -> bool:
        gather = self.gather_of(w, cpu)
        gather.pages.extend(range(frame, frame + count))
        state: X86State = w.flush_state
        return len(gather.pages) >= state.batch

    def dirty_folio_unmapped(self, w: World, cpu: int, mm: int, page: int) -> None:
        gather = self.gather_of(w, cpu)
        push(w, cpu, *self.flush_of(gather), (drop_rmap, mm, page))
        gather.reset_range()

    def pfn_vma_unmapped(self, w: World, cpu: int) -> None:
        """Flush now, because nothing else keeps the driver's frames (tlb_flush_mmu_tlbonly, b67fbebd4cf9)."""
        gather = self.gather_of(w, cpu)
        push(w, cpu, *self.flush_of(gather))
        gather.reset_range()

    def gather_flush(self, w: World, cpu: int) -> None:
        gather = self.gather_of(w, cpu)
        push(w, cpu, *self.flush_of(gather), *free_of(gather))
        gather.reset_range()

    def flush_of(self, gather: Gather) -> list[Step]:
        """Return the flush of the gather's range; none if nothing was recorded."""
        if not gather.end:
            return []
        count = gather.end - gather.start
        return [(flush_send, gather.mm, gather.start, count, int(gather.freed_tables))]

    def gather_finish(self, w: World, cpu: int) -> None:
        gather = self.gather_of(w, cpu)
        if self.is_nested(w, gather):
            # Another gather of this address space is open: its changes, which this operation may have seen and skipped,
            # are not flushed yet. Flush everything, recorded or not (99baac21e458).
            gather.record_all()
        push(w, cpu, *self.finish_steps(gather))

    def finish_steps(self, gather: Gather) -> list[Step]:
        """Return the end of a gather: flush, free, and only then lower the count of pending gathers."""
        return [*self.flush_of(gather), *free_of(gather), (gather_end,)]

    def is_nested(self, w: World, gather: Gather) -> bool:
        """Return whether more than one gather of the address space is open (mm_tlb_flush_nested)."""
        state: X86State = w.flush_state
        return state.pending[gather.mm] > 1

    def gather_finish_free(self, w: World, cpu: int) -> None:
        self.gather_finish(w, cpu)


def free_of(gather: Gather) -> list[Step]:
    """Return the step that frees the queue of the gather; none if the queue is empty."""
    return [(gather_free,)] if gather.pages or gather.tables else []


@step("free the gather's batch", "free")
def gather_free(w: World, cpu: int, _s: Step) -> bool:
    """Free the batch; its tables wait for lockless walkers, and its pages with them (mm.lockless)."""
    state: X86State = w.flush_state
    gather = state.gathers[cpu]
    assert gather is not None, "only steps of an open gather free its batch"
    if w.walkers and gather.tables:
        return True
    for frame in gather.pages:
        put_page(w, frame)
    for index, frame in gather.tables:
        free_table(w, gather.mm, index, frame)
    gather.pages.clear()
    gather.tables.clear()
    return False


@step("dec_tlb_flush_pending", "return")
def gather_end(w: World, cpu: int, _s: Step) -> None:
    state: X86State = w.flush_state
    gather = state.gathers[cpu]
    assert gather is not None, "only steps of an open gather close it"
    state.pending[gather.mm] -= 1
    state.gathers[cpu] = None
