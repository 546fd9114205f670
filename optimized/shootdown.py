"""Delivery of a flush: generations, which CPUs are interrupted, and what each of them invalidates (linux-tlb B.3).

Invariant: a CPU's TLB holds nothing for a context that is older than the context's generation on that CPU.
"""

from typing import Any, Protocol

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


class Delivery(Protocol):
    """The decisions that a strategy of this model takes while a flush is delivered."""

    def should_interrupt(self, w: World, target: int, mm: int, *, freed_tables: bool) -> bool:
        """Return whether the flush interrupts a CPU of the mask."""
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
    strategy = delivery_of(w)
    state: X86State = w.flush_state
    mask = state.cpumask[mm]
    targets = 1 if mask >> cpu & 1 and w.loaded_mm[cpu] == mm else 0
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
    return w.loaded_mm[target] in (SWITCHING, mm)


@step("flush_tlb_func", "ack", takes="cpu mm page count generation")
def flush_ack(w: World, cpu: int, s: Step) -> bool:
    """The target handles the flush; held off while it has interrupts disabled."""
    target = s[1]
    if target != cpu and w.irqs_off[target]:
        return True
    flush_tlb_func(w, target, s[2], s[3], s[4], s[5])
    return False


def flush_tlb_func(w: World, target: int, mm: int, first: int, count: int, generation: int) -> None:
    """Bring the target's loaded context up to date for a flush that was given `generation`.

    Only the range is invalidated when this flush is the next and the newest one; else everything.
    """
    state: X86State = w.flush_state
    loaded = w.loaded_mm[target]
    if loaded == INIT_MM:
        return
    if loaded != mm:
        state.cpumask[mm] &= ~(1 << target)
        return
    if w.lazy[target]:
        w.loaded_mm[target] = INIT_MM
        w.machine.load_cr3(target, NO_ROOT, w.machine.pcid[target], noflush=True)
        return
    slot = state.asid[target]
    local = state.ctx_gen[target][slot]
    newest = state.tlb_gen[mm]
    if generation <= local or local == newest:
        return
    if count < PAGES and delivery_of(w).partial_is_enough(generation, local, newest):
        for page in range(first, first + count):
            w.machine.invlpg(target, page)
        w.costs[INVALIDATED] += count
    else:
        w.machine.invpcid_context(target, slot)
        w.costs[FULL] += 1
        w.costs[INVALIDATED] += w.pages
    state.ctx_gen[target][slot] = newest
