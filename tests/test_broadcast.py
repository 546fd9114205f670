"""Global ASIDs and broadcast flushes: which address space gets one, how stragglers switch to it, and what is waited
for.
"""

from shootdown.mm.state import FLUSHES, IPIS
from shootdown.optimized.global_asid import LAST_GLOBAL, assign
from shootdown.optimized.state import FIRST_GLOBAL
from shootdown.scenario import kinds
from tests.kernel import Kernel, R, W, written

ISSUE, FINISH, WAIT = "flush_tlb_mm_range", "finish_asid_transition", "TLBSYNC"
ACK = "flush_tlb_func"


def broadcasting(cpus: int = 2, *, settled: bool = True) -> Kernel:
    """Return an address space that runs on every CPU, has page 0 written, and was just given a global ASID.

    `settled`: every CPU has switched to it, and the transition is over.
    """
    k = written(cpus=cpus, machine=kinds.INVLPGB)
    for rights in (R, R | W, R, R | W)[: 4 if settled else 1]:
        k.run(0, "mprotect", arg=rights)
    return k


def test_a_flush_that_interrupts_somebody_makes_the_asid_global() -> None:
    """The space was active on two CPUs, so it gets the first number; no CPU uses it yet."""
    k = broadcasting(settled=False)

    assert k.state.global_asid == [FIRST_GLOBAL, -1, -1]
    assert k.state.transition == 1
    assert k.state.asid == [0, 0]


def test_without_invlpgb_nobody_gets_one() -> None:
    """The same operations give no global ASID on a processor without the instruction."""
    k = written()
    k.run(0, "mprotect", arg=R)

    assert k.state.global_asid == [-1, -1, -1]


def test_a_space_that_runs_on_one_cpu_gets_none() -> None:
    """A lazy CPU is interrupted for freed tables, but does not run the space."""
    k = Kernel(machine=kinds.INVLPGB)
    k.run(1, "lazy")
    k.write(0)
    k.run(0, "munmap", count=4)

    assert k.w.costs[IPIS]
    assert k.state.global_asid == [-1, -1, -1]


def test_stragglers_are_interrupted_and_come_to_the_global_asid() -> None:
    """The first broadcast finds both CPUs under an ASID of their own; the second one finds none and ends it."""
    k = broadcasting(settled=False)
    steps = k.run(0, "mprotect", arg=R | W)

    assert steps.count(ACK) == 2
    assert k.state.asid == [FIRST_GLOBAL, FIRST_GLOBAL]
    assert k.state.transition == 1

    steps = k.run(0, "mprotect", arg=R)

    assert ACK not in steps
    assert k.state.transition == 0


def test_a_broadcast_interrupts_nobody_and_is_waited_for() -> None:
    """Even with interrupts disabled on the other CPU, it is complete."""
    k = broadcasting()
    k.write(1)
    before = k.w.costs.copy()
    k.w.irqs_off[1] = True
    k.start(0, "mprotect", arg=R, past=ISSUE)
    assert k.next(0) == WAIT
    assert k.cached(1)

    k.finish(0)

    assert not k.cached(1)
    assert k.w.costs[IPIS] == before[IPIS]
    assert k.w.costs[FLUSHES] == before[FLUSHES] + 1


def test_the_end_of_a_transition_waits_for_who_is_switching() -> None:
    """A CPU that has chosen its ASID earlier may still load the space under it."""
    k = written(cpus=3)
    k.run(0, "fork")
    k.run(2, "switch", arg=1)
    k.write(0)
    k.start(2, "switch", arg=0, past="choose_new_asid")
    k.state.global_asid[0], k.state.transition = FIRST_GLOBAL, 1
    k.state.asid[:2] = [FIRST_GLOBAL, FIRST_GLOBAL]
    k.start(0, "mprotect", arg=R, until=FINISH)

    assert not k.step(0)

    k.finish(2)
    assert k.state.asid[2] < FIRST_GLOBAL
    assert k.step(0)
    assert k.next(0) == ACK
    k.finish(0)
    assert k.state.asid[2] == FIRST_GLOBAL


def test_a_switch_to_a_global_asid_needs_no_flush() -> None:
    """What was cached under it before the switch away was kept up to date, and is used."""
    k = broadcasting()
    k.run(0, "fork")
    k.write(1)
    k.run(1, "switch", arg=1)
    k.run(1, "switch", arg=0)

    assert k.state.asid[1] == FIRST_GLOBAL
    assert k.cached(1)


def test_a_lazy_straggler_comes_to_it_when_it_wakes() -> None:
    """No batched unmap interrupts it; it never uses again what it has cached under the old ASID."""
    k = broadcasting(settled=False)
    k.write(1)
    k.run(1, "lazy")
    k.run(0, "migrate")

    assert k.state.asid[1] == 0
    k.read(1)

    assert k.state.asid[1] == FIRST_GLOBAL


def test_a_batched_unmap_is_issued_at_once_and_waited_for_at_its_end() -> None:
    """After the transition a batch has no CPU to interrupt."""
    k = broadcasting()
    k.write(1)
    k.start(0, "migrate", until=WAIT)
    assert k.cached(1)
    assert k.state.unmap_mask == [0, 0]

    k.finish(0)

    assert "arch_tlbbatch_flush" not in k.names[0]
    assert not k.cached(1)


def test_in_transition_a_batched_unmap_does_both() -> None:
    """The broadcast reaches the CPUs that have switched to the global ASID, the interrupt the others."""
    k = broadcasting(settled=False)
    k.write(1)
    steps = k.run(0, "migrate")

    assert steps.index(WAIT) < steps.index("arch_tlbbatch_flush")
    assert k.state.asid == [FIRST_GLOBAL, FIRST_GLOBAL]


def test_a_number_is_not_given_out_again_before_everything_was_flushed() -> None:
    """The numbers go up; after the last one all TLBs are emptied, and the numbers in use are skipped."""
    k = broadcasting()
    k.write(0)
    for expected in range(FIRST_GLOBAL + 1, LAST_GLOBAL + 1):
        k.state.global_asid[1] = -1
        assign(k.w, 0, 1)
        assert k.state.global_asid[1] == expected
        assert k.cached(0)
    k.state.global_asid[1] = -1

    assign(k.w, 0, 1)

    assert k.state.global_asid[1] == FIRST_GLOBAL + 1
    assert not k.cached(0)


def test_arm64_interrupts_nobody_at_all() -> None:
    """Every space has its ASID from the first use on, and every flush is issued and waited for."""
    k = written("arm64", cpus=3)
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    k.write(1)
    k.run(2, "lazy")
    k.run(0, "munmap", count=4)

    assert k.w.costs[IPIS] == 0
    assert sorted(k.state.global_asid) == [-1, FIRST_GLOBAL, FIRST_GLOBAL + 1]
    assert k.state.need_tlbsync == 0


def test_who_finds_a_batched_unmap_flushes_the_space_itself() -> None:
    """Under arm64 it does, because its own wait would complete nothing."""
    k = written("arm64")
    k.start(1, "migrate", until=WAIT)
    steps = k.run(0, "mprotect", arg=R)

    assert ISSUE in steps
    assert not k.cached(0)
