"""Delivery of a flush: generations, which CPUs are interrupted, and how much each CPU invalidates."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.machine.geometry import PAGES
from shootdown.mm.state import FLUSHES, FULL, INIT_MM, INVALIDATED, IPIS, SWITCHING
from shootdown.mm.step import push
from shootdown.optimized.flush_func import ANY_MM, NO_GENERATION, flush_tlb_func
from shootdown.optimized.shootdown import flush_send, should_flush_tlb, targets_of
from tests.kernel import Kernel, R, W, cached_twice, written


def warm(cpus: int = 2, asids: int = 2) -> Kernel:
    """Return a kernel whose CPUs all have pages 0 to 3 cached."""
    k = Kernel(cpus=cpus, asids=asids)
    for cpu in range(cpus):
        for page in range(4):
            k.read(cpu, page)
    return k


def send(k: Kernel, cpu: int, first: int = 0, count: int = 1, *, freed: bool = False) -> None:
    """Let the CPU send a flush of address space 0, up to the acknowledgements."""
    push(k.w, cpu, (flush_send, 0, first, count, int(freed)))
    assert k.step(cpu)


def held(k: Kernel, cpu: int) -> set[int]:
    """Return the pages that the CPU has cached."""
    return {page for page in range(4) if k.cached(cpu, page)}


def test_a_flush_raises_the_generation_once() -> None:
    """Each request is one generation of its address space and of no other."""
    k = warm()
    before = list(k.state.tlb_gen)
    send(k, 0)

    assert k.state.tlb_gen == [before[0] + 1, *before[1:]]
    assert k.w.costs[FLUSHES] == 1


def test_every_cpu_of_the_mask_acknowledges() -> None:
    """The sender and each other CPU that runs the space flush; IPIs are counted for the others only."""
    k = warm(3)
    send(k, 0)

    assert len(k.w.steps[0]) == 3
    assert k.w.costs[IPIS] == 2
    k.finish(0)
    assert [held(k, cpu) for cpu in range(3)] == [{1, 2, 3}] * 3


def test_a_cpu_outside_the_mask_is_left_alone() -> None:
    """A CPU that is not in mm_cpumask gets no IPI."""
    k = warm()
    k.state.cpumask[0] &= ~2
    send(k, 0)

    assert k.w.costs[IPIS] == 0
    assert held(k, 1) == {0, 1, 2, 3}


def test_a_sender_that_does_not_run_the_space_flushes_others_only() -> None:
    """A CPU that runs another space sends and does not flush itself."""
    k = warm(3)
    k.run(0, "fork")
    k.run(2, "switch", arg=1)
    flushed = k.w.costs[FULL]
    send(k, 2)

    assert len(k.w.steps[2]) == 2
    k.finish(2)
    assert k.w.costs[FULL] == flushed


@pytest.mark.parametrize(
    ("lazy", "loaded", "interrupted"),
    [
        (False, 0, True),
        (False, SWITCHING, True),
        (False, 1, False),
        (False, INIT_MM, False),
        (True, 0, False),
    ],
)
def test_who_is_interrupted_when_no_table_was_freed(
    loaded: int, *, lazy: bool, interrupted: bool
) -> None:
    """Lazy CPUs and CPUs of other spaces are left out, but a CPU in the middle of a switch is not (linux-tlb B.3)."""
    k = warm()
    k.w.lazy[1], k.w.loaded_mm[1] = lazy, loaded

    assert should_flush_tlb(k.w, 1, 0) == interrupted
    send(k, 0)
    assert k.w.costs[IPIS] == interrupted


def test_freed_tables_interrupt_every_cpu_of_the_mask() -> None:
    """When tables were freed, lazy CPUs and stale bits of the mask get the IPI as well."""
    for lazy, loaded in ((True, 0), (False, 1), (False, 0)):
        k = warm()
        k.w.lazy[1], k.w.loaded_mm[1] = lazy, loaded
        send(k, 0, freed=True)

        assert k.w.costs[IPIS] == 1


def test_a_lazy_cpu_that_is_interrupted_lets_go() -> None:
    """It switches to init_mm instead of flushing: no walk can start there any more."""
    k = warm()
    k.run(1, "lazy")
    send(k, 0, freed=True)
    k.finish(0)

    assert k.w.loaded_mm[1] == INIT_MM
    assert k.w.machine.cr3[1] == -1
    assert k.w.lazy[1]


def test_an_interrupt_is_held_off_with_interrupts_disabled() -> None:
    """A CPU in a switch acknowledges when it has finished, and the sender waits; nothing changes in between."""
    k = warm()
    send(k, 0)
    k.step(0)
    k.w.irqs_off[1] = True
    before = k.w.key()
    assert not k.step(0)
    assert k.w.key() == before

    k.w.irqs_off[1] = False
    assert k.step(0)


def test_the_sender_itself_is_never_held_off() -> None:
    """The local flush does not depend on interrupts."""
    k = warm()
    k.w.irqs_off[0] = True
    send(k, 0)

    assert k.step(0)
    assert held(k, 0) == {1, 2, 3}


def test_the_next_and_newest_flush_is_partial() -> None:
    """A CPU that is one generation behind the newest invalidates only the range, page by page."""
    k = warm()
    send(k, 0, 1, 2)
    k.finish(0)

    assert held(k, 1) == {0, 3}
    assert k.w.costs[INVALIDATED] == 4
    assert k.w.costs[FULL] == 0


def test_a_whole_space_is_flushed_at_once() -> None:
    """A flush of everything does not go page by page."""
    k = warm()
    send(k, 0, 0, PAGES)
    k.finish(0)

    assert held(k, 0) == held(k, 1) == set()
    assert k.w.costs[FULL] == 2


def flush_func(k: Kernel, local: int, generation: int, newest: int) -> set[int]:
    """Let CPU 1, at generation `local`, handle a flush of page 0 and return what it has left."""
    k.state.ctx_gen[1][k.state.asid[1]] = local
    k.state.tlb_gen[0] = newest
    flush_tlb_func(k.w, 1, 0, 0, 1, generation)
    return held(k, 1)


@pytest.mark.parametrize(
    ("local", "generation", "newest", "left", "after"),
    [
        (5, 6, 6, {1, 2, 3}, 6),  # next and newest: partial
        (5, 6, 7, set(), 7),  # a newer one is under way: full, and up to the newest
        (5, 7, 7, set(), 7),  # one was missed: full
        (6, 6, 7, {0, 1, 2, 3}, 6),  # this one is done already: nothing, the newer one will come
        (7, 6, 7, {0, 1, 2, 3}, 7),  # up to date
        (7, 7, 7, {0, 1, 2, 3}, 7),
    ],
)
def test_generations_decide(
    local: int, generation: int, newest: int, left: set[int], after: int
) -> None:
    """The flush is partial iff it is the next one and the newest one; nothing if it is done already; otherwise full."""
    k = warm()

    assert flush_func(k, local, generation, newest) == left
    assert k.state.ctx_gen[1][k.state.asid[1]] == after


def test_a_tick_has_the_next_flush_trim_the_mask() -> None:
    """A CPU that has left the space is interrupted once, so that it leaves the mask as well; a lazy CPU is not."""
    k = written(cpus=3)
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    k.write(0)
    k.run(2, "lazy")
    before = k.w.costs[IPIS]
    k.run(0, "mprotect", arg=R)
    assert k.state.cpumask[0] == 0b111
    assert k.w.costs[IPIS] == before
    k.run(2, "tick")

    k.run(0, "mprotect", arg=R | W)

    assert k.state.cpumask[0] == 0b101
    assert k.w.costs[IPIS] == before + 1


def test_a_cpu_of_another_space_leaves_the_mask() -> None:
    """A CPU that is interrupted for a space that it does not run takes its bit out, and flushes nothing."""
    k = warm()
    k.w.loaded_mm[1] = 1
    flush_tlb_func(k.w, 1, 0, 0, 1, 2)

    assert k.state.cpumask[0] == 1
    assert held(k, 1) == {0, 1, 2, 3}


def test_a_cpu_without_a_space_flushes_nothing() -> None:
    """On init_mm there is nothing to flush; the CPU leaves the mask of a space that it does not run."""
    k = warm()
    k.w.loaded_mm[1] = INIT_MM
    flush_tlb_func(k.w, 1, ANY_MM, 0, PAGES, NO_GENERATION)
    assert k.state.cpumask[0] == 3

    flush_tlb_func(k.w, 1, 0, 0, 1, 2)

    assert k.state.cpumask[0] == 1
    assert held(k, 1) == {0, 1, 2, 3}


def test_a_sender_that_is_alone_goes_by_what_it_has_loaded() -> None:
    """If no other CPU is in the mask, it flushes its own space, whatever its bit says, and no other one."""
    k = warm()
    for own in (0, 1):
        k.state.cpumask[0] = own
        assert targets_of(k.w, 0, 0, freed_tables=False) == 1
        assert targets_of(k.w, 0, 1, freed_tables=True) == 0
    k.w.loaded_mm[0] = INIT_MM
    assert targets_of(k.w, 0, 0, freed_tables=True) == 0


def test_a_sender_with_others_is_one_of_the_mask() -> None:
    """It is left out without its bit, and while it is lazy and no table was freed."""
    k = warm()
    assert targets_of(k.w, 0, 0, freed_tables=False) == 0b11
    k.w.lazy[0] = True
    assert targets_of(k.w, 0, 0, freed_tables=False) == 0b10
    assert targets_of(k.w, 0, 0, freed_tables=True) == 0b11
    k.state.cpumask[0] = 0b10
    assert targets_of(k.w, 0, 0, freed_tables=True) == 0b10


def test_a_flush_of_nobody_else_trims_no_mask() -> None:
    """should_trim_cpumask is asked only if other CPUs are in the mask."""
    k = warm()
    k.state.trim_due = 1
    k.state.cpumask[0] = 1
    targets_of(k.w, 0, 0, freed_tables=False)

    assert k.state.trim_due == 1


@given(
    flushes=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_acknowledgements_may_come_in_any_order(
    flushes: list[tuple[int, int]], order: random.Random
) -> None:
    """However the flushes under way are delivered, each CPU ends at the newest generation without a flushed page."""
    k = warm(3)
    base = k.state.tlb_gen[0]
    k.state.tlb_gen[0] += len(flushes)
    acks = [
        (cpu, first, min(count, 4 - first), base + 1 + i)
        for i, (first, count) in enumerate(flushes)
        for cpu in range(3)
    ]
    order.shuffle(acks)
    for cpu, first, count, generation in acks:
        flush_tlb_func(k.w, cpu, 0, first, count, generation)

    flushed = {page for first, count in flushes for page in range(first, min(first + count, 4))}
    assert all(not held(k, cpu) & flushed for cpu in range(3))
    assert all(k.state.ctx_gen[cpu][0] == base + len(flushes) for cpu in range(3))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=6))
def test_every_flush_reaches_every_cpu_however_they_interleave(
    plan: list[tuple[int, int]],
) -> None:
    """Flushes that are sent while others wait for acknowledgements leave no flushed page behind."""
    k = warm(3)
    waiting: list[int] = []
    for cpu, page in plan:
        if k.w.steps[cpu]:
            k.step(cpu)
            continue
        send(k, cpu, page)
        waiting.append(page)
    for cpu in range(3):
        k.finish(cpu)

    assert all(not held(k, cpu) & set(waiting) for cpu in range(3))


@pytest.mark.parametrize(
    ("layout", "operation", "page", "lets_go"),
    [
        ("huge", "dontneed", 1, True),  # split: flush_tlb_range
        ("huge", "age", 0, True),  # pmdp_clear_flush_young: flush_tlb_range
        ("private", "fork", 0, True),  # flush_tlb_mm
        ("private", "migrate", 0, False),  # the batched unmap
        ("private", "mprotect", 0, False),  # a gather that freed no table
    ],
)
def test_who_claims_freed_tables(layout: str, operation: str, page: int, *, lets_go: bool) -> None:
    """Since 3ef938c35035 flush_tlb_range and flush_tlb_mm interrupt lazy CPUs; gathers and batches do not."""
    k = cached_twice(layout=layout)
    k.run(1, "lazy")
    k.run(0, operation, page)

    assert (k.w.loaded_mm[1] == INIT_MM) == lets_go


def test_flush_tlb_page_leaves_lazy_cpus_alone() -> None:
    """The flush of a copy-on-write break is that of one page."""
    k = written()
    k.run(0, "fork")
    k.read(1)
    k.run(1, "lazy")
    k.write(0)

    assert k.w.loaded_mm[1] == 0
    assert k.cached(1)
