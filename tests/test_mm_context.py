"""Context switches as operations: which CPU runs which address space, and how a lazy CPU comes back."""

from tests.kernel import Kernel, cached_twice, two_spaces, written


def test_a_cpu_sees_the_space_that_it_runs() -> None:
    """After a switch accesses go to the other address space, whatever the number of ASIDs."""
    for asids in range(1, 7):
        k = two_spaces(asids)
        for _ in range(2):
            assert (k.read(0), k.read(1)) == (2, 3)
            k.run(0, "switch", arg=1)
            k.run(1, "switch", arg=0)
            assert (k.read(0), k.read(1)) == (3, 2)
            k.run(0, "switch", arg=0)
            k.run(1, "switch", arg=1)


def test_a_switch_to_no_space_is_without_effect() -> None:
    """An address space that fork has not made cannot be switched to."""
    k = Kernel()

    assert k.run(0, "switch", arg=2) == ["context_switch", "return"]
    assert k.w.task_mm[0] == 0


def test_a_switch_to_the_own_space_is_without_effect() -> None:
    """A switch between threads of one space loads nothing."""
    k = Kernel()
    k.read(0)

    assert k.run(0, "switch", arg=0) == ["context_switch", "return"]
    assert k.cached(0)


def test_a_lazy_cpu_keeps_the_space_loaded() -> None:
    """Switching to a kernel thread sets a mark and changes neither CR3 nor TLB (enter_lazy_tlb)."""
    k = Kernel()
    k.read(0)
    cr3 = k.w.machine.cr3[0]

    assert k.run(0, "lazy") == ["enter_lazy_tlb", "return"]
    assert k.w.lazy[0]
    assert k.w.machine.cr3[0] == cr3
    assert k.cached(0)
    assert k.state.cpumask[0] & 1


def test_a_user_operation_ends_lazy_mode_first() -> None:
    """The user thread is switched in before its operation begins."""
    k = Kernel()
    k.read(0)
    k.run(0, "lazy")
    names = k.run(0, "read")

    assert names[:3] == [
        "context_switch",
        "switch_mm: leave lazy",
        "switch_mm: compare generations",
    ]
    assert not k.w.lazy[0]


def test_a_kernel_thread_leaves_lazy_mode_on() -> None:
    """Migration, reclaim and aging run on a lazy CPU."""
    for name in ("migrate", "reclaim", "age"):
        k = written()
        k.run(1, "lazy")
        k.run(1, name)

        assert k.w.lazy[1]


def test_a_lazy_cpu_can_be_switched_away() -> None:
    """A switch from a kernel thread to another space ends lazy mode."""
    k = two_spaces()
    k.run(0, "lazy")
    k.run(0, "switch", arg=1)

    assert not k.w.lazy[0]
    assert k.read(0) == 3


def test_a_lazy_cpu_that_slept_through_a_change_sees_it() -> None:
    """When a CPU that was not interrupted wakes, it compares generations and drops old entries."""
    k = cached_twice()
    k.run(1, "lazy")
    k.run(0, "dontneed")
    assert k.cached(1)

    assert k.read(1) == 0
