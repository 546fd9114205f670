"""Faults in delivery: in the choice of CPUs, in the invalidation on them, in the points where flushes are due."""

from shootdown.machine.entry import PRESENT
from shootdown.mm.flush import COPY, PAGEOUT, SUBMIT, UNLOCK
from shootdown.mm.putback import keep_folio
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World
from shootdown.optimized.shootdown import flush_send, send, should_flush_tlb, targets_of
from shootdown.optimized.state import Gather
from shootdown.optimized.strategy import GatherFlush


class SkipLazyForTables(GatherFlush):
    """A flush for freed page tables leaves lazy CPUs out (before 145f573b89a6 made the exception)."""

    def should_interrupt(self, w: World, target: int, mm: int, *, freed_tables: bool) -> bool:
        return should_flush_tlb(w, target, mm)


class RangeSparesLazy(GatherFlush):
    """flush_tlb_range says that no page table is freed, but a collapse frees one after it (CVE-2025-22045)."""

    def flush_range(self, w: World, cpu: int, mm: int, first: int, count: int) -> None:
        push(w, cpu, (flush_send, mm, first, count, 0))


class CopyBeforeFlush(GatherFlush):
    """Migration copies the page before the flush of its unmapping."""

    def due(self, w: World, cpu: int, point: int) -> None:
        if point != COPY:
            super().due(w, cpu, point)


class ProtnoneUncached(GatherFlush):
    """A PROTNONE entry counts as held by no TLB, even if its flush is pending (before 20841405940e)."""

    def pte_accessible(self, w: World, mm: int, entry: int) -> bool:
        return bool(entry & PRESENT)


class SwapBeforeFlush(GatherFlush):
    """Reclaim writes a dirty page to swap before the flush of its unmapping."""

    def due(self, w: World, cpu: int, point: int) -> None:
        if point != PAGEOUT:
            super().due(w, cpu, point)


class PageoutBeforeFlush(GatherFlush):
    """Reclaim writes a dirty page to its file before the flush of its unmapping."""

    def due(self, w: World, cpu: int, point: int) -> None:
        if point != SUBMIT:
            super().due(w, cpu, point)


class DirtyLeftUnflushed(GatherFlush):
    """Reclaim leaves a dirty page of the file to the flusher threads, and unlocks it before it flushes
    (shrink_folio_list, in which activate_locked precedes try_to_unmap_flush_dirty).
    """

    def due(self, w: World, cpu: int, point: int) -> None:
        if point != SUBMIT:
            super().due(w, cpu, point)
            return
        # The step after this flush is pageout.
        _, frame = w.steps[cpu].pop()
        push(w, cpu, (keep_folio, frame))


class UnlockBeforeFlush(GatherFlush):
    """mremap releases the page-table locks before it flushes the old addresses (CVE-2018-18281)."""

    def due(self, w: World, cpu: int, point: int) -> None:
        if point != UNLOCK:
            super().due(w, cpu, point)


class PartialByLocal(GatherFlush):
    """A ranged invalidation counts as enough although a flush newer than this one is already in flight."""

    def partial_is_enough(self, generation: int, local: int, newest: int) -> bool:
        return generation == local + 1


class GenerationZeroReached(GatherFlush):
    """The generation of a batched flush, 0, counts as reached on every CPU (before 8f1d56f64f8d)."""

    def is_reached(self, generation: int, local: int) -> bool:
        return generation <= local


class SampleEarly(GatherFlush):
    """A separate step looks up the CPUs that run the address space, before the generation is raised."""

    def flush_of(self, gather: Gather) -> list[Step]:
        return [_sampled(s) for s in super().flush_of(gather)]

    def due(self, w: World, cpu: int, point: int) -> None:
        super().due(w, cpu, point)
        w.steps[cpu][:] = [_sampled(s) for s in w.steps[cpu]]


def _sampled(s: Step) -> Step:
    if s[0] != flush_send:
        return s
    _, mm, first, count, freed = s
    return (sample_mask, mm, first, count, freed)


@step("cpumask read", "flush")
def sample_mask(w: World, cpu: int, s: Step) -> None:
    _, mm, first, count, freed = s
    push(
        w, cpu, (raise_and_send, mm, first, count, targets_of(w, cpu, mm, freed_tables=bool(freed)))
    )


@step("inc_mm_tlb_gen, send", "ack")
def raise_and_send(w: World, cpu: int, s: Step) -> None:
    _, mm, first, count, targets = s
    send(w, cpu, mm, first, count, targets)
