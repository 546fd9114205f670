"""The work of a CPU for a flush that reaches it: flush_tlb_func (linux-tlb B.3).

Invariant: a CPU's TLB holds nothing for a context that is older than the context's generation on that CPU.
"""

from typing import Any, Final, Protocol

from shootdown.machine.geometry import PAGES
from shootdown.machine.x86 import NO_ROOT
from shootdown.mm.state import FULL, INIT_MM, INVALIDATED, Step
from shootdown.mm.step import step
from shootdown.mm.world import World
from shootdown.optimized.global_asid import adopt
from shootdown.optimized.state import FIRST_GLOBAL, X86State

NO_GENERATION: Final = 0
"""TLB_GENERATION_INVALID: the generation of a flush of the space that the CPU has loaded."""
ANY_MM: Final = -5
"""The address space of such a flush (info->mm is NULL)."""


class Delivery(Protocol):
    """The decisions of a strategy of this model while a flush is delivered."""

    def should_interrupt(self, w: World, target: int, mm: int, *, freed_tables: bool) -> bool:
        """Return whether the flush interrupts a CPU of the mask."""
        ...

    def held_off(self, w: World, target: int) -> bool:
        """Return whether a flush waits for a CPU that has interrupts disabled; if not, the CPU has been flushed."""
        ...

    def is_reached(self, generation: int, local: int) -> bool:
        """Return whether a context of generation `local` needs no flush of `generation`."""
        ...

    def partial_is_enough(self, generation: int, local: int, newest: int) -> bool:
        """Return whether invalidating the flush's own range brings the context up to date."""
        ...

    def flush_recycled_asid(self) -> bool:
        """Return whether an ASID that is given to another address space is flushed."""
        ...

    def has_only_global_asids(self) -> bool:
        """Return whether every address space has a global ASID from the first time that it is loaded."""
        ...


def delivery_of(w: World) -> Delivery:
    """Return the strategy of a world that runs the optimized model."""
    # Any, because a cast is one more call, ten times per execution.
    strategy: Any = w.flush
    delivery: Delivery = strategy
    return delivery


@step("flush_tlb_func", "ack", takes="cpu mm page count generation")
def flush_ack(w: World, cpu: int, s: Step) -> bool:
    """Let the target handle the flush, when it has interrupts enabled."""
    _, target_cpu, mm, first, count, generation = s
    if target_cpu != cpu and w.irqs_off[target_cpu]:
        return delivery_of(w).held_off(w, target_cpu)
    flush_tlb_func(w, target_cpu, mm, first, count, generation)
    return False


@step("flush_tlb_func, batch", "ack", takes="cpu")
def batch_ack(w: World, cpu: int, s: Step) -> bool:
    """Let the target flush the space that it has loaded, as flush_ack does."""
    _, target_cpu = s
    if target_cpu != cpu and w.irqs_off[target_cpu]:
        return delivery_of(w).held_off(w, target_cpu)
    flush_tlb_func(w, target_cpu, ANY_MM, 0, PAGES, NO_GENERATION)
    return False


def flush_tlb_func(w: World, target: int, mm: int, first: int, count: int, generation: int) -> None:
    """Bring the target's loaded context up to date for a flush of `generation` (NO_GENERATION: a batch's).

    Only the range is invalidated if this flush is the next and the newest one; else everything.
    """
    state: X86State = w.flush_state
    loaded = w.loaded_mm[target]
    if loaded != mm:
        if mm != ANY_MM:
            state.cpumask[mm] &= ~(1 << target)
            return
        if loaded < 0:
            # None, or a dead space, whose table is loaded lazily: nothing of it is used again.
            return
    if w.lazy[target]:
        w.loaded_mm[target] = INIT_MM
        w.machine.load_cr3(target, NO_ROOT, w.machine.pcid[target], noflush=True)
        return
    slot = state.asid[target]
    if state.global_asid[loaded] >= 0:
        # Broadcasts keep a global ASID up to date; a straggler changes to it now.
        if slot < FIRST_GLOBAL:
            adopt(w, target, loaded)
        return
    local = state.ctx_gen[target][slot]
    newest = state.tlb_gen[loaded]
    delivery = delivery_of(w)
    if local == newest or delivery.is_reached(generation, local):
        return
    if count < PAGES and delivery.partial_is_enough(generation, local, newest):
        for page in range(first, first + count):
            w.machine.invlpg(target, page)
        w.costs[INVALIDATED] += count
    else:
        w.machine.invpcid_context(target, slot)
        w.costs[FULL] += 1
        w.costs[INVALIDATED] += w.pages
    state.ctx_gen[target][slot] = newest
