"""Relaxed flushes: a promotion is flushed on the CPU that makes it, and other CPUs learn of it when they fault.

RFC "mm: relaxed TLB flushes and other optimi." of July 2022 (20220718120212.3180-1-namit@vmware.com;
linux-tlb A.2 (4)).
"""

from shootdown.machine.geometry import FANOUT
from shootdown.mm.state import FLUSHES, FULL, INVALIDATED, Step
from shootdown.mm.step import step
from shootdown.mm.world import World
from shootdown.optimized import rules
from shootdown.optimized.flush_func import flush_tlb_func
from shootdown.optimized.shootdown import send
from shootdown.optimized.state import FIRST_GLOBAL, Gather, X86State
from shootdown.optimized.strategy import GatherFlush


class RelaxedFlush(GatherFlush):
    """Delivery in which a gather that took no right away raises the generation and flushes only the local CPU.

    Another CPU may keep a tighter entry; the fault that it causes finds the CPU's generation behind, and flushes the
    whole context. The next strict flush finds a gap of generations there and flushes everything.
    """

    def protection_changed(
        self, w: World, cpu: int, mm: int, page: int, old: int, new: int
    ) -> None:
        if rules.rfc_2022_strict(old, new):
            self.record(w, cpu, page, 1)
        elif rules.rfc_2022_relaxed(old, new):
            self.gather_of(w, cpu).record_relaxed(page, 1)
        else:
            w.observer.skipped(cpu, mm, page, old, new)

    def huge_changed(self, w: World, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        if rules.rfc_2022_strict(old, new, ignore_accessed=False):
            self.record(w, cpu, page, FANOUT)
        elif rules.rfc_2022_relaxed(old, new):
            self.gather_of(w, cpu).record_relaxed(page, FANOUT)
        else:
            for i in range(FANOUT):
                w.observer.skipped(cpu, mm, page + i, old, new)

    def flush_of(self, gather: Gather) -> list[Step]:
        if gather.end and not gather.strict:
            return [(flush_relaxed, gather.mm, gather.start, gather.end - gather.start)]
        return super().flush_of(gather)

    def spurious_fault(self, w: World, cpu: int, mm: int) -> None:
        state: X86State = w.flush_state
        slot = state.asid[cpu]
        if slot < FIRST_GLOBAL and state.ctx_gen[cpu][slot] != state.tlb_gen[mm]:
            w.machine.invpcid_context(cpu, slot)
            w.costs[FULL] += 1
            w.costs[INVALIDATED] += w.pages
            state.ctx_gen[cpu][slot] = state.tlb_gen[mm]


@step("flush_tlb_mm_range, relaxed", "flush")
def flush_relaxed(w: World, cpu: int, s: Step) -> None:
    """Raise the generation and flush the local CPU.

    A broadcast cannot go to one CPU alone, so with a global ASID it goes to all.
    """
    _, mm, first, count = s
    state: X86State = w.flush_state
    if state.global_asid[mm] >= 0:
        send(w, cpu, mm, first, count, 0)
        return
    generation = state.tlb_gen[mm] = state.tlb_gen[mm] + 1
    w.costs[FLUSHES] += 1
    if w.loaded_mm[cpu] == mm:
        flush_tlb_func(w, cpu, mm, first, count, generation)
