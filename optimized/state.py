"""The mutable part of the optimized model, plain data in the world: gathers, deferred flushes, generations, ASIDs."""

from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.machine.geometry import PAGES
from shootdown.machine.plain import Plain
from shootdown.mm.flush import Walk
from shootdown.mm.state import MMS

FIRST_GLOBAL: Final = 8
"""ASIDs from here on are those of an address space on all CPUs (optimized.global_asid)."""


class Gather(Plain):
    """One open mmu_gather.

    The recorded range is [start, end) in pages, empty when end is 0.
    `strict`: some of the range must be invalidated on every CPU, not on the sender alone.
    `pages` are references to drop after the flush, `tables` are (PMD index, frame) of page tables to free after it.
    """

    def __init__(self, mm: int, known: "Gather | None" = None) -> None:
        self.mm = mm
        self.start: int = known.start if known else 0
        self.end: int = known.end if known else 0
        self.freed_tables: bool = known.freed_tables if known else False
        self.strict: bool = known.strict if known else False
        self.pages: list[int] = known.pages.copy() if known else []
        self.tables: list[tuple[int, int]] = known.tables.copy() if known else []

    def copy(self) -> "Gather":
        """As Plain."""
        return Gather(self.mm, self)

    def record(self, first: int, count: int) -> None:
        """Widen the range to cover `count` pages from `first`, on every CPU."""
        self.strict = True
        self.record_relaxed(first, count)

    def record_all(self) -> None:
        """Widen the range to everything, as with page tables freed: lazy CPUs are flushed as well."""
        self.record(0, PAGES)
        self.freed_tables = True

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


@mypyc_attr(allow_interpreted_subclasses=True)
class X86State(Plain):
    """What mm_struct, cpu_tlbstate and the gathers hold (linux-tlb B): State.flush_state under the optimized model.

    Per address space: `tlb_gen`, `cpumask` (a bit per CPU), `pending` (tlb_flush_pending), the two halves of
    tlb_flush_batched, `global_asid` (-1: none), `transition` (a bit each: some CPU may still run it under another
    ASID), and `trim_due` (a bit each: the next flush drops from the mask whoever does not run it).
    `last_global` is the global ASID that was given out last, FIRST_GLOBAL - 1 before the first one.
    Per CPU: `unmap_mask` (arch_tlbbatch: a bit for each CPU that its batch of unmaps must reach), `asid` loaded,
    `next_asid`, for each slot the context's address space and generation, and in `need_tlbsync` a bit: it has issued a
    broadcast that it has not waited for.
    """

    def __init__(self, cpus: int, asids: int, batch: int, known: "X86State | None" = None) -> None:
        """Begin with nothing loaded and no gather open; or go on from `known`."""
        self.asids = asids
        self.batch = batch
        self.tlb_gen: list[int] = known.tlb_gen.copy() if known else [1] * MMS
        self.cpumask: list[int] = known.cpumask.copy() if known else [0] * MMS
        self.pending: list[int] = known.pending.copy() if known else [0] * MMS
        self.batched: list[int] = known.batched.copy() if known else [0] * MMS
        self.batched_flushed: list[int] = known.batched_flushed.copy() if known else [0] * MMS
        self.unmap_mask: list[int] = known.unmap_mask.copy() if known else [0] * cpus
        self.asid: list[int] = known.asid.copy() if known else [0] * cpus
        self.next_asid: list[int] = known.next_asid.copy() if known else [0] * cpus
        self.ctx_mm: list[list[int]] = (
            [one.copy() for one in known.ctx_mm] if known else [[-1] * asids for _ in range(cpus)]
        )
        self.ctx_gen: list[list[int]] = (
            [one.copy() for one in known.ctx_gen] if known else [[0] * asids for _ in range(cpus)]
        )
        self.gathers: list[Gather | None] = (
            [one.copy() if one else None for one in known.gathers] if known else [None] * cpus
        )
        self.deferred: list[list[tuple[int, int, int, int]]] = (
            [one.copy() for one in known.deferred] if known else [[] for _ in range(cpus)]
        )
        self.global_asid: list[int] = known.global_asid.copy() if known else [-1] * MMS
        self.last_global: int = known.last_global if known else FIRST_GLOBAL - 1
        self.transition: int = known.transition if known else 0
        self.need_tlbsync: int = known.need_tlbsync if known else 0
        self.trim_due: int = known.trim_due if known else 0

    def copy(self) -> "X86State":
        """As Plain."""
        if type(self) is not X86State:
            return super().copy()
        return X86State(0, self.asids, self.batch, self)

    def write(self, walk: Walk, cpus: int) -> None:
        """Write nothing: all of this state is known to the walk."""

    def count_open(self, mm: int) -> int:
        """Return tlb_flush_pending of the address space: how many gathers say that they are open."""
        return self.pending[mm]
