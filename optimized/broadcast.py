"""Flushes of an address space with a global ASID, issued for all CPUs at once, with a wait at the end (linux-tlb B.3).

The order is: change the entries, raise the generation, INVLPGB, interrupt the stragglers, TLBSYNC.
"""

from shootdown.machine.geometry import PAGES
from shootdown.mm.state import FULL, INVALIDATED, IPIS, SWITCHING, Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World
from shootdown.optimized.flush_func import flush_ack
from shootdown.optimized.state import X86State


def broadcast(w: World, cpu: int, mm: int, first: int, count: int, generation: int) -> None:
    """Issue the invalidation, and push the remaining steps (broadcast_tlb_flush)."""
    state: X86State = w.flush_state
    asid = state.global_asid[mm]
    if count < PAGES:
        for page in range(first, first + count):
            w.machine.invlpgb(cpu, asid, page)
        w.costs[INVALIDATED] += count * w.cpus
    else:
        w.machine.invlpgb_context(cpu, asid)
        w.costs[FULL] += w.cpus
        w.costs[INVALIDATED] += w.pages * w.cpus
    state.need_tlbsync |= 1 << cpu
    push(w, cpu, (wait_tlbsync,))
    if state.transition >> mm & 1:
        push(w, cpu, (finish_asid_transition, mm, first, count, generation))


@step("TLBSYNC", "ack")
def wait_tlbsync(w: World, cpu: int, _s: Step) -> None:
    state: X86State = w.flush_state
    w.machine.tlbsync(cpu)
    state.need_tlbsync &= ~(1 << cpu)


@step("finish_asid_transition", "flush", takes="mm page count generation")
def finish_asid_transition(w: World, cpu: int, s: Step) -> bool:
    """Interrupt all CPUs of the mask if one still runs the space under its own ASID; if none does, end the transition.

    A CPU that is switching may be about to load the space under an ASID that it has chosen earlier.
    """
    _, mm, first, count, generation = s
    state: X86State = w.flush_state
    mask = state.cpumask[mm]
    if any(
        mask >> c & 1 and w.loaded_mm[c] == mm and state.asid[c] != state.global_asid[mm]
        for c in range(w.cpus)
    ):
        targets = [(cpu + d) % w.cpus for d in range(w.cpus) if mask >> (cpu + d) % w.cpus & 1]
        w.costs[IPIS] += sum(target != cpu for target in targets)
        acks = [(flush_ack, target_cpu, mm, first, count, generation) for target_cpu in targets]
        push(w, cpu, *acks)
        return False
    if any(mask >> c & 1 and w.loaded_mm[c] == SWITCHING for c in range(w.cpus)):
        return True
    state.transition &= ~(1 << mm)
    return False
