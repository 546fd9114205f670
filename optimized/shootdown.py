"""Delivery of a flush: generations, which CPUs are interrupted, and what each of them invalidates (linux-tlb B.3).

Invariant: a CPU's TLB holds nothing for a context that is older than the context's generation on that CPU.
"""

from typing import Any, Final, Protocol

from machine.geometry import PAGES
from machine.x86 import NO_ROOT
from mm.step import Step, push, step
from mm.world import (
    FLUSHES,
    FULL,
    INIT_MM,
    INVALIDATED,
    IPIS,
    SWITCHING,
    World,
)
from optimized.state import X86State

NO_GENERATION: Final = 0
"""TLB_GENERATION_INVALID: a flush of what the CPU has loaded, whatever that is."""
ANY_MM: Final = -5
"""The address space of such a flush (info->mm is NULL)."""


class Delivery(Protocol):
    """The decisions that a strategy of this model takes while a flush is delivered."""

    def should_interrupt(self, w: World, target: int, mm: int, *, freed_tables: bool) -> bool:
        """Return whether the flush interrupts a CPU of the mask."""
        ...

    def held_off(self, w: World, target: int) -> bool:
        """Return whether a flush waits for a CPU that has interrupts disabled; if not, the CPU has been flushed."""
        ...

    def is_reached(self, generation: int, local: int) -> bool:
        """Return whether a context of generation `local` has what a flush of `generation` brings."""
        ...

    def partial_is_enough(self, generation: int, local: int, newest: int) -> bool:
        """Return whether invalidating the flush's own range brings the context up to date."""
        ...

    def flush_recycled_asid(self) -> bool:
        """Return whether an ASID that is given to another address space is flushed."""
        ...


def delivery_of(w: World) -> Delivery:
    """Return the strategy of a world that runs the optimized model."""
    # Any, because a cast is one more call, ten times an execution.
    strategy: Any = w.flush
    delivery: Delivery = strategy
    return delivery


@step("flush_tlb_mm_range", "flush")
def flush_send(w: World, cpu: int, s: Step) -> None:
    """Arguments: mm, first page, count (PAGES: everything), whether page tables were freed.

    The order is: entries changed, generation raised, CPU mask read, the last two in one step; then the sender handles
    the flush itself, and the others in the order of their distance from it, so that no CPU's number is special.
    """
    _, mm, first, count, freed = s
    send(w, cpu, mm, first, count, targets_of(w, cpu, mm, freed_tables=bool(freed)))


def targets_of(w: World, cpu: int, mm: int, *, freed_tables: bool) -> int:
    """Return who of the CPU mask must handle a flush: bit d for the CPU at distance d from the sender."""
    state: X86State = w.flush_state
    mask = state.cpumask[mm]
    own = mask >> cpu & 1 if w.loaded_mm[cpu] == mm else 0
    return own | others_of(w, cpu, mask, mm, freed_tables=freed_tables)


def others_of(w: World, cpu: int, mask: int, mm: int, *, freed_tables: bool) -> int:
    """Return which other CPUs of a mask must be interrupted, by their distance from the sender."""
    strategy = delivery_of(w)
    targets = 0
    for distance in range(1, w.cpus):
        target = (cpu + distance) % w.cpus
        if mask >> target & 1 and strategy.should_interrupt(
            w, target, mm, freed_tables=freed_tables
        ):
            targets |= 1 << distance
    return targets


def send(w: World, cpu: int, mm: int, first: int, count: int, targets: int) -> None:
    """Raise the generation and have the targets handle the flush; what targets_of returns says who they are."""
    state: X86State = w.flush_state
    generation = state.tlb_gen[mm] = state.tlb_gen[mm] + 1
    w.costs[FLUSHES] += 1
    w.costs[IPIS] += (targets >> 1).bit_count()
    push(
        w,
        cpu,
        *[
            (flush_ack, (cpu + distance) % w.cpus, mm, first, count, generation)
            for distance in range(w.cpus)
            if targets >> distance & 1
        ],
    )


def should_flush_tlb(w: World, target: int, mm: int) -> bool:
    """Return whether a CPU must be interrupted for a flush that freed no page table: lazy CPUs catch up later."""
    if w.lazy[target]:
        return False
    return mm == ANY_MM or w.loaded_mm[target] in (SWITCHING, mm)


@step("flush_tlb_func", "ack", takes="cpu mm page count generation")
def flush_ack(w: World, cpu: int, s: Step) -> bool:
    """The target handles the flush; held off while it has interrupts disabled."""
    target = s[1]
    if target != cpu and w.irqs_off[target]:
        return delivery_of(w).held_off(w, target)
    flush_tlb_func(w, target, s[2], s[3], s[4], s[5])
    return False


@step("arch_tlbbatch_flush", "flush")
def batch_flush(w: World, cpu: int, _s: Step) -> None:
    """Interrupt every CPU that a batch of unmaps has added; the unmaps have raised the generations already."""
    state: X86State = w.flush_state
    mask = state.unmap_mask[cpu]
    state.unmap_mask[cpu] = 0
    targets = mask >> cpu & 1 | others_of(w, cpu, mask, ANY_MM, freed_tables=False)
    w.costs[FLUSHES] += 1
    w.costs[IPIS] += (targets >> 1).bit_count()
    push(w, cpu, *[(batch_ack, (cpu + d) % w.cpus) for d in range(w.cpus) if targets >> d & 1])


@step("flush_tlb_func, batch", "ack", takes="cpu")
def batch_ack(w: World, cpu: int, s: Step) -> bool:
    """As flush_ack, for whatever the target has loaded."""
    target = s[1]
    if target != cpu and w.irqs_off[target]:
        return delivery_of(w).held_off(w, target)
    flush_tlb_func(w, target, ANY_MM, 0, PAGES, NO_GENERATION)
    return False


def flush_tlb_func(w: World, target: int, mm: int, first: int, count: int, generation: int) -> None:
    """Bring the target's loaded context up to date for a flush that was given `generation` (NO_GENERATION: a batch's).

    Only the range is invalidated when this flush is the next and the newest one; else everything.
    """
    state: X86State = w.flush_state
    loaded = w.loaded_mm[target]
    if loaded == INIT_MM:
        return
    if mm == ANY_MM:
        if loaded < 0:
            # A space that is gone, whose table is loaded lazily: nothing of it is used again.
            return
    elif loaded != mm:
        state.cpumask[mm] &= ~(1 << target)
        return
    if w.lazy[target]:
        w.loaded_mm[target] = INIT_MM
        w.machine.load_cr3(target, NO_ROOT, w.machine.pcid[target], noflush=True)
        return
    slot = state.asid[target]
    local = state.ctx_gen[target][slot]
    newest = state.tlb_gen[loaded]
    strategy = delivery_of(w)
    if strategy.is_reached(generation, local) or local == newest:
        return
    if count < PAGES and strategy.partial_is_enough(generation, local, newest):
        for page in range(first, first + count):
            w.machine.invlpg(target, page)
        w.costs[INVALIDATED] += count
    else:
        w.machine.invpcid_context(target, slot)
        w.costs[FULL] += 1
        w.costs[INVALIDATED] += w.pages
    state.ctx_gen[target][slot] = newest
