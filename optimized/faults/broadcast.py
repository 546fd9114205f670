"""Faults in broadcast flushes: in the wait, and in the interrupts that are needed besides."""

from shootdown.mm.state import INVALIDATED, Step
from shootdown.mm.step import push
from shootdown.mm.world import World
from shootdown.optimized.arm64 import Arm64Flush
from shootdown.optimized.broadcast import wait_tlbsync
from shootdown.optimized.state import Gather, X86State
from shootdown.optimized.strategy import GatherFlush


class BatchBroadcastOnly(GatherFlush):
    """A batch with a broadcast waits for that, and sends no interrupt (INVLPGB series, before its v2)."""

    def unmap_flush(self, w: World, cpu: int) -> list[Step]:
        state: X86State = w.flush_state
        if not state.need_tlbsync >> cpu & 1:
            return super().unmap_flush(w, cpu)
        state.unmap_mask[cpu] = 0
        return [(wait_tlbsync,)]


class BatchTransitionMissed(GatherFlush):
    """A batched unmap in an address space with a global ASID is only broadcast, even in transition (before its v5)."""

    def defer_unmap(self, w: World, cpu: int, mm: int, page: int) -> None:
        state: X86State = w.flush_state
        transition = state.transition
        if state.global_asid[mm] >= 0:
            state.transition = 0
        super().defer_unmap(w, cpu, mm, page)
        state.transition = transition


class IssuedEarly(Arm64Flush):
    """A gather issues its invalidation when it begins, so that it runs beside the walk, and only waits at its end."""

    def gather_begin(self, w: World, cpu: int, mm: int) -> None:
        super().gather_begin(w, cpu, mm)
        state: X86State = w.flush_state
        w.machine.invlpgb_context(cpu, state.global_asid[mm])
        w.costs[INVALIDATED] += w.pages * w.cpus
        state.need_tlbsync |= 1 << cpu

    def flush_of(self, gather: Gather) -> list[Step]:
        return [(wait_tlbsync,)] if gather.end else []


class WaitByAnother(Arm64Flush):
    """A CPU that finds a batched unmap waits itself for an invalidation of another CPU (DSB, before 4b634918384c)."""

    def flush_batched_pending(self, w: World, cpu: int, mm: int) -> None:
        state: X86State = w.flush_state
        if state.batched[mm] != state.batched_flushed[mm]:
            push(w, cpu, (wait_tlbsync,))
