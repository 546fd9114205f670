"""Postponed flushes outside a gather: ranges of an operation, and unmaps through the rmap in a task's batch.

Other CPUs learn of them by tlb_flush_batched, and of gathers by tlb_flush_pending.
"""

from mypy_extensions import mypyc_attr

from shootdown.machine.entry import PRESENT
from shootdown.machine.geometry import PAGES
from shootdown.mm.state import INVALIDATED, Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World
from shootdown.optimized.broadcast import wait_tlbsync
from shootdown.optimized.immediate import ImmediateStrategy
from shootdown.optimized.shootdown import batch_flush, flush_send
from shootdown.optimized.state import X86State


@mypyc_attr(allow_interpreted_subclasses=True)
class DeferralStrategy(ImmediateStrategy):
    """The part mm.flush.Deferral."""

    def defer(self, w: World, cpu: int, mm: int, first: int, count: int) -> None:
        state: X86State = w.flush_state
        state.deferred[cpu].append((mm, first, count, 1))

    def defer_page(self, w: World, cpu: int, mm: int, page: int) -> None:
        state: X86State = w.flush_state
        state.deferred[cpu].append((mm, page, 1, 0))

    def defer_unmap(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Raise the generation now, and add the address space's CPUs to the task's batch (arch_tlbbatch_add_pending).

        With a global ASID it issues a broadcast instead; in transition it does both, for the stragglers.
        """
        state: X86State = w.flush_state
        state.batched[mm] += 1
        asid = state.global_asid[mm]
        if asid >= 0:
            w.machine.invlpgb(cpu, asid, page)
            w.costs[INVALIDATED] += w.cpus
            state.need_tlbsync |= 1 << cpu
            if not state.transition >> mm & 1:
                return
        state.tlb_gen[mm] += 1
        state.unmap_mask[cpu] |= state.cpumask[mm]

    def soft_dirty_cleared(self, w: World, cpu: int, mm: int) -> None:
        self.defer(w, cpu, mm, 0, PAGES)

    def due(self, w: World, cpu: int, point: int) -> None:
        state: X86State = w.flush_state
        ranges = state.deferred[cpu]
        if ranges:
            push(
                w,
                cpu,
                *[
                    (flush_send, mm, first, count, freed)
                    for mm, first, count, freed in merged(ranges)
                ],
            )
            state.deferred[cpu] = []
        if state.unmap_mask[cpu] or state.need_tlbsync:
            push(w, cpu, *self.unmap_flush(w, cpu))

    def unmap_flush(self, w: World, cpu: int) -> list[Step]:
        """Return the wait for the broadcasts, and the interrupts for address spaces without a global ASID
        (arch_tlbbatch_flush); a batch may need both.
        """
        state: X86State = w.flush_state
        wait: list[Step] = [(wait_tlbsync,)] if state.need_tlbsync >> cpu & 1 else []
        return [*wait, (batch_flush,)] if state.unmap_mask[cpu] else wait

    def flush_batched_pending(self, w: World, cpu: int, mm: int) -> None:
        state: X86State = w.flush_state
        batched = state.batched[mm]
        if batched != state.batched_flushed[mm]:
            push(w, cpu, (flush_send, mm, 0, PAGES, 1), (batched_done, mm, batched))

    def flush_pending(self, w: World, mm: int) -> bool:
        state: X86State = w.flush_state
        return state.pending[mm] > 0

    def pte_accessible(self, w: World, mm: int, entry: int) -> bool:
        """Return whether the entry is PRESENT, or a change to PROTNONE may not be flushed yet (20841405940e)."""
        state: X86State = w.flush_state
        return bool(entry & PRESENT) or state.pending[mm] > 0

    def pending_before_merge(self, w: World, mm: int) -> bool:
        state: X86State = w.flush_state
        return state.pending[mm] > 0

    def addresses_reused(self, w: World, cpu: int, mm: int) -> None:
        """Do nothing: the operation that unmapped the addresses has flushed."""


def merged(ranges: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Return one range for each address space, the hull of its ranges: the space, the first page, the number of pages,
    and whether page tables may have been freed.

    Since 3ef938c35035 flush_tlb_range and flush_tlb_mm say that page tables may have been freed, and so reach lazy
    CPUs; flush_tlb_page and the batched unmap do not.
    """
    hull: dict[int, tuple[int, int, int]] = {}
    for mm, first, count, freed in ranges:
        start, end, any_freed = hull.get(mm, (first, first + count, 0))
        hull[mm] = (min(start, first), max(end, first + count), any_freed | freed)
    return [(mm, start, end - start, freed) for mm, (start, end, freed) in hull.items()]


@step("flush_tlb_batched_pending done", "check")
def batched_done(w: World, _cpu: int, s: Step) -> None:
    """Record what was flushed: the work that was pending before the flush, not work that came later."""
    _, mm, batched = s
    state: X86State = w.flush_state
    state.batched_flushed[mm] = max(state.batched_flushed[mm], batched)
