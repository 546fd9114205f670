"""Faults in delivery: who is interrupted, what is invalidated, which tag is reused."""

from mm.flush import COPY, UNLOCK
from mm.world import World
from optimized.shootdown import should_flush_tlb
from optimized.strategy import GatherFlush


class SkipLazyForTables(GatherFlush):
    """A flush that freed page tables leaves lazy CPUs out (before 145f573b89a6 made the exception)."""

    def should_interrupt(self, w: World, target: int, mm: int, *, freed_tables: bool) -> bool:
        return should_flush_tlb(w, target, mm)


class CopyBeforeFlush(GatherFlush):
    """Migration copies the page before the flush of its unmapping (before 20841405940e)."""

    def due(self, w: World, cpu: int, point: int) -> None:
        if point != COPY:
            super().due(w, cpu, point)


class UnlockBeforeFlush(GatherFlush):
    """mremap releases the page-table locks before it flushes the old addresses (CVE-2018-18281)."""

    def due(self, w: World, cpu: int, point: int) -> None:
        if point != UNLOCK:
            super().due(w, cpu, point)


class RecycleAsid(GatherFlush):
    """An ASID that is given to another address space is not flushed."""

    def flush_recycled_asid(self) -> bool:
        return False


class NarrowGeneration(GatherFlush):
    """A CPU compares the last three bits of a generation when it takes up a context: after eight flushes they agree."""

    def is_behind(self, local: int, newest: int) -> bool:
        return (newest - local) % 8 != 0


class PartialByLocal(GatherFlush):
    """A ranged invalidation is taken for enough although a newer flush than this one is already under way."""

    def partial_is_enough(self, generation: int, local: int, newest: int) -> bool:
        return generation == local + 1
