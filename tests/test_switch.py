"""switch_mm_irqs_off: its steps, its ASIDs, and what it flushes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.mm.state import FULL, INIT_MM, SWITCHING
from shootdown.optimized.switch import push_switch
from tests.kernel import Kernel, cached_twice, written

STEPS = ["switch_mm: LOADED_MM_SWITCHING, set cpumask", "choose_new_asid", "write CR3"]
WAKE = ["switch_mm: leave lazy", "switch_mm: compare generations"]


def family(asids: int = 2, cpus: int = 2) -> Kernel:
    """Return a kernel with three address spaces, the first one on every CPU."""
    k = written(asids=asids, cpus=cpus)
    k.run(0, "fork")
    k.run(0, "fork")
    return k


def switch(k: Kernel, cpu: int, mm: int) -> list[str]:
    """Switch the CPU and return the names of the steps between the operation's first and last."""
    return k.run(cpu, "switch", arg=mm)[1:-1]


def test_the_order_of_steps() -> None:
    """First mark and mask, then the generation is read and a slot is chosen, then CR3."""
    assert switch(family(), 0, 1) == STEPS


def test_interrupts_are_off_from_first_to_last() -> None:
    """Between the steps the CPU belongs to no space, holds off interrupts, and is in the mask already."""
    k = family()
    k.start(0, "switch", arg=1, past=STEPS[0])
    for name in STEPS[1:]:
        assert (k.w.loaded_mm[0], k.w.irqs_off[0]) == (SWITCHING, True)
        assert k.state.cpumask[1] & 1
        k.past(0, name)

    assert (k.w.loaded_mm[0], k.w.irqs_off[0]) == (1, False)
    assert k.w.machine.cr3[0] == k.w.root[1]


def test_the_old_space_keeps_the_bit_of_its_mask() -> None:
    """mm_cpumask is trimmed lazily: the CPU leaves it when a flush finds it elsewhere."""
    k = family()
    switch(k, 0, 1)

    assert k.state.cpumask[0] & 1


def test_a_new_space_takes_the_next_slot_and_flushes_it() -> None:
    """A space without a slot gets them round robin, and everything under the slot's PCID is gone."""
    k = family(asids=2)
    k.read(0)
    assert k.state.asid[0] == 0
    switch(k, 0, 1)
    assert (k.state.asid[0], k.state.ctx_mm[0]) == (1, [0, 1])
    switch(k, 0, 2)

    assert (k.state.asid[0], k.state.ctx_mm[0]) == (0, [2, 1])
    assert not any(key >> 4 == 0 for key in k.w.machine.tlb[0])


def test_a_space_that_has_a_slot_keeps_its_translations() -> None:
    """On return to a space that was not flushed in the meantime, CR3 is loaded without a flush."""
    k = family(asids=3)
    k.read(0)
    switch(k, 0, 1)
    full = k.w.costs[FULL]
    switch(k, 0, 0)

    assert k.w.costs[FULL] == full
    assert k.cached(0)


def test_a_space_that_was_flushed_meanwhile_is_flushed_on_return() -> None:
    """A slot that is behind its space's generation is flushed when it is loaded, and is up to date then."""
    k = family(asids=3)
    k.read(0)
    switch(k, 0, 1)
    k.run(1, "munmap", 3)
    k.run(1, "dontneed")
    full = k.w.costs[FULL]
    switch(k, 0, 0)

    assert k.w.costs[FULL] == full + 1
    assert not k.cached(0)
    assert k.state.ctx_gen[0][0] == k.state.tlb_gen[0]
    assert k.read(0) == 0


def test_with_one_asid_every_switch_flushes() -> None:
    """With a single slot no translation survives a switch, as without PCID."""
    k = family(asids=1)
    for mm in (1, 0, 2, 1):
        switch(k, 0, mm)
        assert k.w.machine.tlb[0] == {}
        k.read(0)
        assert k.w.machine.tlb[0] != {}


def test_a_flush_in_the_middle_of_a_switch_is_not_lost() -> None:
    """A flush that raises the generation after it was read interrupts the CPU when the switch has finished."""
    k = family()
    k.run(1, "switch", arg=1)
    k.write(1)
    switch(k, 0, 1)
    k.read(0)
    switch(k, 0, 0)
    k.start(0, "switch", arg=1, past="choose_new_asid")
    k.start(1, "dontneed", until="flush_tlb_mm_range")
    k.step(1)
    k.step(1)
    k.waits(1, until_end_of=0)

    assert k.read(0) == 0


def test_a_flush_in_front_of_the_mask_is_seen_by_the_generation() -> None:
    """A flush that missed the CPU because its bit was not set yet is found when the generation is read."""
    k = family(asids=3)
    k.read(0)
    switch(k, 0, 1)
    k.state.cpumask[0] &= ~1
    k.run(1, "dontneed")
    switch(k, 0, 0)

    assert k.read(0) == 0


@pytest.mark.parametrize("behind", [False, True])
def test_waking_compares_generations(*, behind: bool) -> None:
    """A lazy CPU that returns to its space flushes iff the space was flushed in the meantime."""
    k = cached_twice()
    k.run(1, "lazy")
    if behind:
        k.run(0, "dontneed")
    full = k.w.costs[FULL]
    names = k.run(1, "switch", arg=0)

    assert names[1:-1] == WAKE
    assert k.w.costs[FULL] == full + behind
    assert k.cached(1) != behind
    assert not k.w.irqs_off[1]


def test_a_cpu_is_not_lazy_when_it_compares() -> None:
    """The mark is cleared before the comparison: a flush in between interrupts the CPU and waits."""
    k = cached_twice()
    k.run(1, "lazy")
    k.start(1, "switch", arg=0, past=WAKE[0])
    assert (k.w.lazy[1], k.w.irqs_off[1]) == (False, True)
    k.start(0, "dontneed", until="flush_tlb_func")
    k.step(0)
    k.waits(0, until_end_of=1)

    assert k.read(1) == 0


def test_a_lazy_cpu_that_lost_its_space_loads_it_anew() -> None:
    """A CPU that a flush of freed tables sent to init_mm makes the whole switch when it wakes."""
    k = written()
    k.run(1, "lazy")
    k.run(0, "munmap", 0, 4)
    assert k.w.loaded_mm[1] == INIT_MM

    assert switch(k, 1, 0) == STEPS
    assert k.w.machine.cr3[1] == k.w.root[0]
    assert not k.w.lazy[1]


def test_the_space_may_be_lost_while_the_cpu_wakes() -> None:
    """The same happens when the flush comes between the decision to wake and its first step."""
    k = written()
    k.run(1, "lazy")
    k.start(1, "switch", arg=0, until=WAKE[0])
    k.run(0, "munmap", 0, 4)

    assert k.finish(1)[-4:-1] == STEPS
    assert k.w.loaded_mm[1] == 0


def test_no_step_for_the_space_that_runs() -> None:
    """A switch to the loaded space by a CPU that is not lazy has nothing to do."""
    k = Kernel()
    push_switch(k.w, 0, 0)

    assert k.w.steps[0] == []


def test_a_tag_belongs_to_the_space_of_its_slot() -> None:
    """For every slot, and for no other number, it is known whose translations its PCID holds."""
    k = family(asids=2)
    switch(k, 0, 2)

    assert [k.w.flush.tag_owner(k.w, 0, pcid) for pcid in range(4)] == [0, 2, -1, -1]


def test_at_rest_every_old_slot_is_flushed() -> None:
    """Quiesce flushes what a later switch would flush: no slot outlives its space."""
    k = family(asids=3)
    k.read(0)
    switch(k, 0, 1)
    k.run(1, "dontneed")
    assert any(key >> 4 == 0 for key in k.w.machine.tlb[0])
    k.w.flush.quiesce(k.w)
    assert k.state.ctx_gen[0][0] == k.state.tlb_gen[0]
    assert not any(key >> 4 == 0 for key in k.w.machine.tlb[0])


@given(
    asids=st.integers(1, 6),
    plan=st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(["switch", "lazy", "read", "dontneed", "write"]),
            st.integers(0, 2),
        ),
        max_size=14,
    ),
)
def test_a_slot_is_never_newer_than_what_it_holds(
    asids: int, plan: list[tuple[int, str, int]]
) -> None:
    """No context has a generation that its space has not reached, and each space has at most one slot."""
    k = family(asids)
    for cpu, name, mm in plan:
        k.run(cpu, name, arg=mm)
        for slots, generations in zip(k.state.ctx_mm, k.state.ctx_gen, strict=True):
            owned = [mm for mm in slots if mm >= 0]
            assert len(owned) == len(set(owned))
            assert all(
                gen <= k.state.tlb_gen[mm]
                for mm, gen in zip(slots, generations, strict=True)
                if mm >= 0
            )
