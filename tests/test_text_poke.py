"""text_poke: in and out of a temporary address space, with interrupts disabled and nothing left behind."""

import pytest

from shootdown.machine.geometry import FRAMES
from shootdown.mm.operations import BY_NAME, begin
from shootdown.mm.state import INIT_MM, POKING_MM
from shootdown.mm.step import run_steps
from shootdown.optimized.switch import load_table
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import boot
from shootdown.run.oracle import Oracle, Violation
from shootdown.scenario import Header
from tests.kernel import Kernel, cached_twice, two_spaces, written

INSIDE = "text_poke_memcpy"


def test_the_order_of_steps() -> None:
    """Into the temporary space, one store, and back by a whole switch."""
    k = Kernel()

    assert k.run(0, "poke") == [
        "use_temporary_mm",
        INSIDE,
        "unuse_temporary_mm",
        "switch_mm: LOADED_MM_SWITCHING, set cpumask",
        "choose_new_asid",
        "write CR3",
        "return",
    ]


def test_interrupts_are_off_inside() -> None:
    """Until the old space is loaded again the CPU holds off flushes, and no address space is loaded by its number."""
    k = two_spaces()
    k.start(0, "poke", past="use_temporary_mm")
    assert (k.w.loaded_mm[0], k.w.irqs_off[0]) == (POKING_MM, True)
    assert k.w.machine.cr3[0] == k.w.poking
    k.finish(0)

    assert (k.w.loaded_mm[0], k.w.irqs_off[0]) == (0, False)
    assert k.w.machine.cr3[0] == k.w.root[0]


@pytest.mark.parametrize("asids", [1, 2, 3, 6])
def test_nothing_of_it_is_left(asids: int) -> None:
    """Whatever ASID it took, each address space reads its own page afterwards, the first time and later."""
    k = two_spaces(asids)
    for _ in range(asids + 1):
        k.run(0, "poke")
        assert k.read(0) == 2
        k.run(0, "switch", arg=1)
        k.run(0, "poke")
        assert k.read(0) == 3
        k.run(0, "switch", arg=0)
        assert k.read(0) == 2


def test_a_flush_meanwhile_is_seen_on_return() -> None:
    """The CPU keeps its bit in the mask, and compares generations when it is back."""
    k = written(asids=3)
    k.start(0, "poke", 1, until=INSIDE)
    assert k.state.cpumask[0] & 1
    k.run(1, "dontneed")
    k.finish(0)

    assert k.read(0) == 0


def test_a_lazy_cpu_leaves_what_it_has_borrowed() -> None:
    """Afterwards the CPU has init_mm loaded, still runs its kernel thread, and loads a space with the next thread."""
    k = cached_twice()
    k.run(1, "lazy")
    assert k.run(1, "poke") == [
        "use_temporary_mm",
        INSIDE,
        "unuse_temporary_mm: init_mm",
        "return",
    ]
    assert (k.w.loaded_mm[1], k.w.machine.cr3[1]) == (INIT_MM, -1)
    assert (k.w.kthread[1], k.w.irqs_off[1]) == (True, False)

    assert k.read(1) == 1
    assert (k.w.loaded_mm[1], k.w.lazy[1], k.w.kthread[1]) == (0, False, False)


def test_exit_meanwhile_frees_the_top_level_table() -> None:
    """A borrowed table that was left has no owner: the exit of its space frees it, and the lazy CPU never
    comes back.
    """
    k = Kernel(layout="empty")
    k.run(0, "fork")
    root = k.w.root[0]
    k.run(1, "lazy")
    k.start(1, "poke", until=INSIDE)
    k.run(0, "exit")
    assert k.w.free_frames >> root & 1
    k.finish(1)

    assert k.w.machine.cr3[1] == -1


def test_a_freed_table_may_not_be_loaded() -> None:
    """C3: what CR3 gets is the table of an address space, or of one that is gone while its table is still loaded."""
    k = Kernel(layout="empty")
    k.run(0, "fork")
    root = k.w.root[0]
    k.run(1, "lazy")
    k.run(0, "exit")
    load_table(k.w, 0, 0, root, 0, flush=True)
    k.run(0, "switch", arg=1)
    load_table(k.w, 0, 1, k.w.root[1], 0, flush=True)
    k.run(1, "switch", arg=1)
    assert k.w.free_frames >> root & 1

    with pytest.raises(Violation, match="freed-table-loaded"):
        load_table(k.w, 0, 0, root, 0, flush=True)


def test_it_is_made_once() -> None:
    """Two page tables and a page of the kernel are made at the first use, by whichever CPU."""
    k = Kernel()
    free = k.w.free_frames.bit_count()
    assert k.w.poking < 0
    k.run(0, "poke")
    k.run(1, "poke", 3)
    k.run(0, "poke", 2)

    assert free - k.w.free_frames.bit_count() == 3
    assert 0 <= k.w.poking < FRAMES


def test_two_cpus_at_once() -> None:
    """Each has the temporary space loaded under an ASID of its own CPU."""
    k = two_spaces()
    for cpu in (0, 1):
        k.start(cpu, "poke", until=INSIDE)
    for cpu in (0, 1):
        k.finish(cpu)

    assert (k.read(0), k.read(1)) == (2, 3)


def test_the_reference_comes_back_as_well() -> None:
    """A user thread finds its own space again, and a lazy CPU has none."""
    w, oracle = boot(Header(2, 1), EagerFlush(), Oracle)
    for cpu, name in ((0, "write"), (0, "poke"), (0, "read"), (1, "lazy"), (1, "poke")):
        begin(w, cpu, BY_NAME[name], 0, 1, 0)
        assert run_steps(w, cpu, 100)

    assert w.loaded_mm == [0, INIT_MM]
    assert w.machine.cr3 == [w.root[0], -1]
    oracle.at_rest()
