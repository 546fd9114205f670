"""Lazy shootdown: munmap and MADV_DONTNEED send no interrupts; each CPU flushes at its next tick or context switch.

It follows LATR (Kumar, Maass, Kashyap, Vesely, Yan, Kim, Bhattacharjee, Krishna: "LATR: Lazy Translation Coherence",
ASPLOS 2018).
The operation saves the range to flush and the CPUs that must flush it, and returns; its pages are freed when all these
CPUs have flushed. That is the end of an epoch, and only then does the operation's promise hold (correctness.md section
1): before it a thread on another CPU may still use the memory that the program has given up.
Addresses are not reused before that, and an operation that takes a page-table lock of the space flushes at once, as
after a batched unmap.
Everything else is flushed as in Linux, also page tables that are freed.
A postponed flush leaves the count of open gathers before it is carried out. So it counts for other operations as if its
gather were still open: a walk beside it that took the page-table lock first and skipped the cleared entries is nested.
"""

from shootdown.mm.flush import Walk
from shootdown.mm.frames import put_page
from shootdown.mm.state import FLUSHES, SWITCHING, Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World
from shootdown.optimized.flush_func import flush_tlb_func
from shootdown.optimized.shootdown import flush_send
from shootdown.optimized.state import Gather, X86State
from shootdown.optimized.strategy import GatherFlush

EPOCH, SPACE, FIRST, COUNT, GENERATION, WAITING, PAGES_FROM = range(7)
"""The places in an element of LatrState.lazy_frees: the number of its epoch, the address space, range and generation of
the flush, one bit for each CPU that still has to carry it out, and the frames whose references are dropped after that.
"""


class LatrState(X86State):
    """X86State with the postponed flushes.

    `lazy_frees`: the postponed flushes, in order.
    """

    def __init__(self, cpus: int, asids: int, batch: int) -> None:
        super().__init__(cpus, asids, batch)
        self.lazy_frees: list[tuple[int, ...]] = []

    def write(self, walk: Walk, cpus: int) -> None:
        for epoch, mm, first, count, generation, waiting, *frames in self.lazy_frees:
            behind = walk.generation(mm, generation)
            walk.write(mm, first, count, behind, walk.turned(waiting, cpus), len(frames))
            walk.write(*map(walk.frame, frames))
            walk.epoch(epoch)


class LatrFlush(GatherFlush):
    """A strategy that postpones the flushes for which munmap and MADV_DONTNEED would interrupt other CPUs."""

    def new_state(self, cpus: int, asids: int, batch: int) -> LatrState:
        return LatrState(cpus, asids, batch)

    def gather_finish_free(self, w: World, cpu: int) -> None:
        gather = self.gather_of(w, cpu)
        state: X86State = w.flush_state
        broadcast = state.global_asid[gather.mm] >= 0
        if gather.freed_tables or not gather.end or broadcast or self.is_nested(w, gather):
            self.gather_finish(w, cpu)
        else:
            push(w, cpu, (save_latr_state,))

    def is_nested(self, w: World, gather: Gather) -> bool:
        return super().is_nested(w, gather) or self.is_put_off(w, gather.mm)

    def is_put_off(self, w: World, mm: int) -> bool:
        """Return whether a flush of the space is postponed, and no later flush has covered it on all CPUs."""
        state: X86State = w.flush_state
        return state.batched[mm] != state.batched_flushed[mm]

    def tick(self, w: World, cpu: int) -> None:
        super().tick(w, cpu)
        sweep(w, cpu)

    def switch_mm(self, w: World, cpu: int, mm: int) -> None:
        sweep(w, cpu)
        super().switch_mm(w, cpu, mm)

    def addresses_reused(self, w: World, cpu: int, mm: int) -> None:
        state: LatrState = w.flush_state
        if any(entry[SPACE] == mm for entry in state.lazy_frees):
            push(w, cpu, (flush_send, mm, 0, w.pages, 0))

    def quiesce(self, w: World) -> None:
        for cpu in range(w.cpus):
            sweep(w, cpu)
        super().quiesce(w)


@step("save LATR state", "return")
def save_latr_state(w: World, cpu: int, _s: Step) -> None:
    """Close the gather with a flush of only its own CPU."""
    state: LatrState = w.flush_state
    gather = state.gathers[cpu]
    assert gather is not None, "only steps of an open gather close it"
    mm, first, count = gather.mm, gather.start, gather.end - gather.start
    generation = state.tlb_gen[mm] = state.tlb_gen[mm] + 1
    w.costs[FLUSHES] += 1
    if w.loaded_mm[cpu] == mm:
        flush_tlb_func(w, cpu, mm, first, count, generation)
    # A CPU that does not run the space now compares generations before it runs it.
    waiting = sum(
        1 << c
        for c in range(w.cpus)
        if c != cpu
        and state.cpumask[mm] >> c & 1
        and not w.lazy[c]
        and w.loaded_mm[c] in (mm, SWITCHING)
    )
    taken = {entry[EPOCH] for entry in state.lazy_frees}
    epoch = next(number for number in range(len(taken) + 1) if number not in taken)
    w.observer.postponed(cpu, epoch)
    state.lazy_frees.append((epoch, mm, first, count, generation, waiting, *gather.pages))
    state.batched[mm] += 1
    state.pending[mm] -= 1
    state.gathers[cpu] = None
    _end_epochs(w)


def sweep(w: World, cpu: int) -> None:
    """Carry out the postponed flushes on the CPU."""
    state: LatrState = w.flush_state
    for i, entry in enumerate(state.lazy_frees):
        if entry[WAITING] >> cpu & 1:
            mm = entry[SPACE]
            if w.loaded_mm[cpu] == mm and not w.lazy[cpu]:
                flush_tlb_func(w, cpu, mm, entry[FIRST], entry[COUNT], entry[GENERATION])
            waiting = entry[WAITING] & ~(1 << cpu)
            state.lazy_frees[i] = (*entry[:WAITING], waiting, *entry[PAGES_FROM:])
    _end_epochs(w)


def _end_epochs(w: World) -> None:
    state: LatrState = w.flush_state
    ended = [entry for entry in state.lazy_frees if not entry[WAITING]]
    if ended:
        state.lazy_frees = [entry for entry in state.lazy_frees if entry[WAITING]]
        for entry in ended:
            w.observer.epoch_ended(entry[EPOCH])
            for frame in entry[PAGES_FROM:]:
                put_page(w, frame)
