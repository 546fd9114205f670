"""The mutable part of the optimized model, plain data in the world: gathers, deferred flushes, generations, ASIDs."""

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from shootdown.machine.geometry import PAGES
from shootdown.machine.plain import Plain
from shootdown.mm.flush import Walk
from shootdown.mm.state import MMS

FIRST_GLOBAL: Final = 8
"""The first global ASID, which an address space has on all CPUs (optimized.global_asid)."""


class Gather(Plain):
    """One open mmu_gather.

    `start`, `end`: the recorded range [start, end) in pages, empty if `end` is 0.
    `freed_tables`: page tables are to be freed, so the flush reaches lazy CPUs.
    `strict`: some of the range must be invalidated on every CPU, not only on the sender.
    `pages`: the references to drop after the flush.
    `tables`: (PMD index, frame) of the page tables to free after it.
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
        """Return an equal gather that shares no mutable state with this one."""
        return Gather(self.mm, self)

    def record(self, first: int, count: int) -> None:
        """Widen the range to cover `count` pages from `first`, on every CPU."""
        self.strict = True
        self.record_relaxed(first, count)

    def record_all(self) -> None:
        """Widen the range to everything, as if page tables were freed: lazy CPUs are flushed as well."""
        self.record(0, PAGES)
        self.freed_tables = True

    def record_relaxed(self, first: int, count: int) -> None:
        """Widen the range on the sender's CPU; other CPUs may keep the old entries."""
        if not self.end:
            self.start, self.end = first, first + count
        else:
            self.start = min(self.start, first)
            self.end = max(self.end, first + count)

    def reset_range(self) -> None:
        """Empty the range, which is flushed; pages and tables stay queued (__tlb_reset_range)."""
        self.end = 0
        self.freed_tables = self.strict = False


@mypyc_attr(allow_interpreted_subclasses=True)
class X86State(Plain):
    """The content of mm_struct, cpu_tlbstate and the gathers (linux-tlb B): State.flush_state of the optimized model.

    For each address space:
    `tlb_gen`: its generation.
    `cpumask`: one bit per CPU.
    `pending`: tlb_flush_pending.
    `batched`, `batched_flushed`: the two halves of tlb_flush_batched.
    `global_asid`: -1 for none.
    `transition`: a bit if some CPU may still run the space under another ASID.
    `trim_due`: a bit if the next flush drops from the mask the CPUs that do not run the space.

    `last_global`: the global ASID that was given out last, FIRST_GLOBAL - 1 before the first one.

    For each CPU:
    `unmap_mask`: arch_tlbbatch, a bit for each CPU that its batch of unmaps must reach.
    `asid`, `next_asid`: the loaded ASID, and the one that is taken next.
    `ctx_mm`, `ctx_gen`: the address space and the generation of the context in each slot.
    `gathers`: its open gather.
    `deferred`: its deferred ranges.
    `need_tlbsync`: a bit if it has issued a broadcast for which it has not waited yet.
    """

    opaque: ClassVar[bool] = False

    def __init__(self, cpus: int, asids: int, batch: int, known: "X86State | None" = None) -> None:
        """Begin with nothing loaded and no gather open, or continue from `known`."""
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
        """Return an equal state that shares no mutable part with this one."""
        if type(self) is not X86State:
            return super().copy()
        return X86State(0, self.asids, self.batch, self)

    def write(self, walk: Walk, cpus: int) -> None:
        """Write nothing: the walk knows all of this state."""

    def count_open(self, mm: int) -> int:
        """Return tlb_flush_pending of the address space, the number of its open gathers."""
        return self.pending[mm]
