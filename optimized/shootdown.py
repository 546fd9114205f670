"""Sending a flush: its generation, and the CPUs that it interrupts (linux-tlb B.3)."""

from typing import Final

from shootdown.machine.geometry import PAGES
from shootdown.mm.state import FLUSHES, IPIS, SWITCHING, Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World
from shootdown.optimized.broadcast import broadcast
from shootdown.optimized.flush_func import ANY_MM, batch_ack, delivery_of, flush_ack
from shootdown.optimized.global_asid import consider_global_asid
from shootdown.optimized.state import X86State

CEILING: Final = 5
"""tlb_single_page_flush_ceiling: a range of more pages becomes a full flush; 33 of the 512 of a table in Linux."""


@step("flush_tlb_mm_range", "flush")
def flush_send(w: World, cpu: int, s: Step) -> None:
    """Send a flush of `count` pages (PAGES: everything); `freed` says whether page tables were freed.

    The order is: change the entries, raise the generation, read the CPU mask, the last two in one step. Then the sender
    handles the flush itself, and the others in the order of their distance from it, so that no CPU's number is special.
    """
    _, mm, first, count, freed = s
    send(w, cpu, mm, first, count, targets_of(w, cpu, mm, freed_tables=bool(freed)))


def targets_of(w: World, cpu: int, mm: int, *, freed_tables: bool) -> int:
    """Return the CPUs that must handle a flush: bit d for the CPU at distance d from the sender.

    If no other CPU is in the mask, the sender handles it if it has the space loaded, without a look at its own bit;
    else it is one of the mask like the others (flush_tlb_mm_range in arch/x86/mm/tlb.c of Linux 6.1, 6.12 and 7.3).
    """
    state: X86State = w.flush_state
    mask = state.cpumask[mm]
    if not mask & ~(1 << cpu):
        return int(w.loaded_mm[cpu] == mm)
    if state.trim_due >> mm & 1:
        # A CPU that is interrupted without need leaves the mask, in flush_tlb_func.
        state.trim_due &= ~(1 << mm)
        return targets_to_trim(w, cpu, mask, freed_tables=freed_tables)
    own = mask >> cpu & 1 if freed_tables or should_flush_tlb(w, cpu, mm) else 0
    return own | others_of(w, cpu, mask, mm, freed_tables=freed_tables)


def targets_to_trim(w: World, cpu: int, mask: int, *, freed_tables: bool) -> int:
    """Return the CPUs as targets_of does, with all others of the mask that are not lazy."""
    return sum(
        1 << d
        for d in range(w.cpus)
        if mask >> (cpu + d) % w.cpus & 1 and (freed_tables or not w.lazy[(cpu + d) % w.cpus])
    )


def others_of(w: World, cpu: int, mask: int, mm: int, *, freed_tables: bool) -> int:
    """Return the other CPUs of a mask that must be interrupted, by their distance from the sender."""
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
    """Raise the generation and have the targets, as targets_of returns them, handle the flush."""
    state: X86State = w.flush_state
    if count > CEILING:
        first, count = 0, PAGES
    generation = state.tlb_gen[mm] = state.tlb_gen[mm] + 1
    w.costs[FLUSHES] += 1
    if state.global_asid[mm] >= 0:
        broadcast(w, cpu, mm, first, count, generation)
        return
    w.costs[IPIS] += (targets >> 1).bit_count()
    if w.machine.has_invlpgb and targets >> 1:
        push(w, cpu, (consider_global_asid, mm))
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


@step("arch_tlbbatch_flush", "flush")
def batch_flush(w: World, cpu: int, _s: Step) -> None:
    """Interrupt every CPU that a batch of unmaps has added; the unmaps have already raised the generations."""
    state: X86State = w.flush_state
    mask = state.unmap_mask[cpu]
    state.unmap_mask[cpu] = 0
    targets = mask >> cpu & 1 | others_of(w, cpu, mask, ANY_MM, freed_tables=False)
    w.costs[FLUSHES] += 1
    w.costs[IPIS] += (targets >> 1).bit_count()
    push(w, cpu, *[(batch_ack, (cpu + d) % w.cpus) for d in range(w.cpus) if targets >> d & 1])
