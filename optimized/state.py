"""The mutable part of the optimized model, plain data in the world: gathers, deferred flushes, generations, ASIDs."""

from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.mm.flush import Walk
from shootdown.mm.world import MMS

FIRST_GLOBAL: Final = 8
"""ASIDs from here on are those of an address space on all CPUs (optimized.global_asid)."""


class Gather:
    """One open mmu_gather.

    The recorded range is [start, end) in pages, empty when end is 0.
    `strict`: some of the range must be invalidated on every CPU, not on the sender alone.
    `pages` are references to drop after the flush, `tables` are (PMD index, frame) of page tables to free after it.
    """

    __slots__ = ("end", "freed_tables", "mm", "pages", "start", "strict", "tables")

    def __init__(self, mm: int) -> None:
        self.mm = mm
        self.start = 0
        self.end = 0
        self.freed_tables = False
        self.strict = False
        self.pages: list[int] = []
        self.tables: list[tuple[int, int]] = []

    def record(self, first: int, count: int) -> None:
        """Widen the range to cover `count` pages from `first`, on every CPU."""
        self.strict = True
        self.record_relaxed(first, count)

    def record_relaxed(self, first: int, count: int) -> None:
        """Widen the range, on the sender's CPU; others may go on with the old entries."""
        if not self.end:
            self.start, self.end = first, first + count
        else:
            self.start = min(self.start, first)
            self.end = max(self.end, first + count)

    def reset_range(self) -> None:
        """__tlb_reset_range: what was recorded is flushed; pages and tables stay queued."""
        self.end = 0
        self.freed_tables = self.strict = False

    def copy(self) -> "Gather":
        """Return an equal gather that shares no list with this one."""
        other = Gather(self.mm)
        other.start, other.end = self.start, self.end
        other.freed_tables, other.strict = self.freed_tables, self.strict
        other.pages = self.pages.copy()
        other.tables = self.tables.copy()
        return other

    def key(self) -> tuple[object, ...]:
        """Return a hashable value, equal for equal gathers."""
        return (
            self.mm,
            self.start,
            self.end,
            self.freed_tables,
            self.strict,
            tuple(self.pages),
            tuple(self.tables),
        )


@mypyc_attr(allow_interpreted_subclasses=True)
class X86State:
    """What mm_struct, cpu_tlbstate and the gathers hold (linux-tlb B): World.flush_state under the optimized model.

    Per address space: `tlb_gen`, `cpumask` (a bit per CPU), `pending` (tlb_flush_pending), the two halves of
    tlb_flush_batched, `global_asid` (-1: none), `transition` (a bit each: some CPU may still run it under another
    ASID), and `trim_due` (a bit each: the next flush drops from the mask whoever does not run it).
    `last_global` is the global ASID that was given out last, FIRST_GLOBAL - 1 before the first one.
    Per CPU: `unmap_mask` (arch_tlbbatch: a bit for each CPU that its batch of unmaps must reach), `asid` loaded,
    `next_asid`, for each slot the context's address space and generation, and in `need_tlbsync` a bit: it has issued a
    broadcast that it has not waited for.
    """

    __slots__ = (
        "asid",
        "asids",
        "batch",
        "batched",
        "batched_flushed",
        "cpumask",
        "ctx_gen",
        "ctx_mm",
        "deferred",
        "gathers",
        "global_asid",
        "last_global",
        "need_tlbsync",
        "next_asid",
        "pending",
        "tlb_gen",
        "transition",
        "trim_due",
        "unmap_mask",
    )

    def __init__(self, cpus: int, asids: int, batch: int, known: "X86State | None" = None) -> None:
        """Begin with nothing loaded and no gather open; or with all that `known`, a state of the same class, holds."""
        self.asids = asids
        self.batch = batch
        if known is not None:
            self._copy(known)
            return
        self.tlb_gen = [1] * MMS
        self.cpumask = [0] * MMS
        self.pending = [0] * MMS
        self.batched = [0] * MMS
        self.batched_flushed = [0] * MMS
        self.unmap_mask = [0] * cpus
        self.asid = [0] * cpus
        self.next_asid = [0] * cpus
        self.ctx_mm = [[-1] * asids for _ in range(cpus)]
        self.ctx_gen = [[0] * asids for _ in range(cpus)]
        self.gathers: list[Gather | None] = [None] * cpus
        self.deferred: list[list[tuple[int, int, int, int]]] = [[] for _ in range(cpus)]
        self.global_asid = [-1] * MMS
        self.last_global = FIRST_GLOBAL - 1
        self.transition = 0
        self.need_tlbsync = 0
        self.trim_due = 0

    def copy(self) -> "X86State":
        """Return an equal state that shares no mutable part with this one."""
        return type(self)(0, self.asids, self.batch, self)

    def _copy(self, known: "X86State") -> None:
        self.tlb_gen = known.tlb_gen.copy()
        self.cpumask = known.cpumask.copy()
        self.pending = known.pending.copy()
        self.batched = known.batched.copy()
        self.batched_flushed = known.batched_flushed.copy()
        self.unmap_mask = known.unmap_mask.copy()
        self.asid = known.asid.copy()
        self.next_asid = known.next_asid.copy()
        self.ctx_mm = [slots.copy() for slots in known.ctx_mm]
        self.ctx_gen = [slots.copy() for slots in known.ctx_gen]
        self.gathers = [gather.copy() if gather else None for gather in known.gathers]
        self.deferred = [ranges.copy() for ranges in known.deferred]
        self.global_asid = known.global_asid.copy()
        self.last_global = known.last_global
        self.transition = known.transition
        self.need_tlbsync = known.need_tlbsync
        self.trim_due = known.trim_due

    def key(self) -> tuple[object, ...]:
        """Return a hashable value, equal for equal states."""
        return (
            tuple(self.tlb_gen),
            tuple(self.cpumask),
            tuple(self.pending),
            tuple(self.batched),
            tuple(self.batched_flushed),
            tuple(self.unmap_mask),
            tuple(self.asid),
            tuple(self.next_asid),
            tuple(tuple(slots) for slots in self.ctx_mm),
            tuple(tuple(slots) for slots in self.ctx_gen),
            tuple(gather.key() if gather else None for gather in self.gathers),
            tuple(tuple(ranges) for ranges in self.deferred),
            tuple(self.global_asid),
            self.last_global,
            self.transition,
            self.need_tlbsync,
            self.trim_due,
        )

    def write(self, walk: Walk, cpus: int) -> None:
        """Write nothing: all of this state is known to the walk."""

    def count_open(self, mm: int) -> int:
        """Return tlb_flush_pending of the address space: how many gathers say that they are open."""
        return self.pending[mm]
