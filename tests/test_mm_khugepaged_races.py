"""Collapses during other operations: which CPUs the flush reaches, which operations wait, and which find nothing."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.machine.geometry import FANOUT
from shootdown.mm.state import INIT_MM, NOBODY
from shootdown.mm.world import World
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.rules import linux, linux_huge
from shootdown.optimized.strategy import GatherFlush
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import execute
from shootdown.run.oracle import Violation
from shootdown.scenario import Scenario, decode, encode, kinds
from tests.collapsing import holed, split, table_of, tables_cached, values
from tests.kernel import Kernel
from tests.strategies import any_scenario

# The flush.


@pytest.mark.parametrize("lazy", [False, True])
def test_nobody_can_reach_the_table_when_the_copy_begins(lazy: bool) -> None:  # noqa: FBT001 - a parameter
    """Running or lazy, a CPU that had walked through the table has left it before the first copy."""
    k = split()
    values(k)
    if lazy:
        k.run(1, "lazy")
    table = table_of(k)
    assert table in tables_cached(k)
    k.start(0, "collapse", until="__collapse_huge_page_copy")

    reachable = {k.w.machine.cr3[cpu] >= 0 and bool(k.w.machine.psc[cpu]) for cpu in range(2)}
    assert reachable == {False}
    assert (k.w.loaded_mm[1] == INIT_MM) == lazy
    k.finish(0)
    assert values(k) == [1, 2, 3, 4]


def test_a_lazy_cpu_that_is_spared_can_walk_the_freed_table() -> None:
    """CVE-2025-22045: a flush_tlb_range that does not say that tables may be freed leaves a lazy CPU with its PDE."""
    k = split("range-spares-lazy")
    k.read(1)
    k.run(1, "lazy")

    with pytest.raises(Violation, match="freed-table-still-cached"):
        k.run(0, "collapse")
    assert k.next(0) == "mmap_write_unlock, return"


def test_a_running_cpu_is_not_spared_by_that_fault() -> None:
    """Without a lazy CPU the same policy collapses soundly."""
    k = split("range-spares-lazy")
    k.read(1)
    k.run(0, "collapse")

    assert values(k) == [1, 2, 3, 4]


class _Unflushed(GatherFlush):
    def flush_range(self, w: World, cpu: int, mm: int, first: int, count: int) -> None:
        """Flush nothing."""


def _unflushed() -> Kernel:
    strategy = _Unflushed(linux, linux_huge, inline=False, report_spurious=False)
    k = split(strategy, cpus=3)
    k.run(0, "dontneed", 0)
    k.w.machine.invpcid_all(0, globals_too=True)
    return k


def test_a_copy_under_a_writer_is_seen() -> None:
    """Without the flush a CPU can store to a page that is being copied (C4)."""
    k = _unflushed()
    k.write(1, 2)

    with pytest.raises(Violation, match="copied-under-a-writer"):
        k.run(0, "collapse")


def test_a_freed_page_that_is_still_cached_is_seen() -> None:
    """Without the flush a CPU that only reads holds a page that is freed (C3)."""
    k = _unflushed()
    k.read(1, 2)

    with pytest.raises(Violation, match="freed-frame-still-cached"):
        k.run(0, "collapse")


def test_the_zero_page_is_revoked() -> None:
    """The zero page is never freed, so only the denial distinguishes a load through its old entry from a legal one."""
    k = _unflushed()
    assert k.read(1, 0) == 0
    k.w.machine.psc[1].clear()
    k.run(0, "collapse")
    k.write(0, 0)

    with pytest.raises(Violation, match="stale-grant"):
        k.read(1, 0)


# Operations in between.


WAITERS = {
    "a load": "read",
    "a store": "write",
    "MADV_DONTNEED": "dontneed",
    "MADV_FREE": "free",
    "fork": "fork",
    "munmap": "munmap",
    "mprotect": "mprotect",
    "another collapse": "collapse",
}


@pytest.mark.parametrize("what", WAITERS)
def test_whoever_needs_the_mmap_lock_waits(what: str) -> None:
    """While the PMD is none, a fault or a call that would take it for a hole waits, and then sees the huge page."""
    k = split()
    k.start(0, "collapse", until="__collapse_huge_page_copy")
    assert k.pmd() == 0
    k.start(1, WAITERS[what], 1)
    while k.step(1):
        pass
    assert k.next(1).startswith(("page fault", "mmap_", "madvise_lock"))
    assert k.pmd() == 0
    k.finish(1)

    assert not k.w.steps[0]
    assert k.read(0, 3) == 4


@pytest.mark.parametrize("name", ["migrate", "reclaim", "age"])
@pytest.mark.parametrize("at", ["flush_tlb_mm_range", "__collapse_huge_page_copy", "set_pmd_at"])
def test_a_walker_of_the_rmap_finds_nothing(name: str, at: str) -> None:
    """Migration, reclaim and aging take no mmap_lock; between the two sizes there is no page for them."""
    k = split()
    k.start(0, "collapse", until=at)
    before = k.w.machine.memory.copy()
    k.run(1, name, 1)

    assert k.w.machine.memory == before
    k.finish(0)
    assert values(k) == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["migrate", "age"])
def test_a_walker_inside_the_table_is_waited_for(name: str) -> None:
    """The table is freed when no CPU holds its lock; aging that comes too late for the lock finds the table gone."""
    k = split()
    k.start(1, name, 1)
    while k.w.ptl[0] == NOBODY:
        assert k.step(1)
    k.start(0, "collapse", until="pmdp_collapse_flush")
    k.waits(0, until_end_of=1)

    assert values(k) == [1, 2, 3, 4]


def test_aging_that_waits_for_the_table_finds_it_gone() -> None:
    """An operation that has read the PMD, and gets the lock after the collapse, changes neither size."""
    k = split()
    k.start(1, "age", 1, past="folio_referenced")
    k.run(0, "collapse")
    leaf = k.pmd()
    k.finish(1)

    assert k.pmd() == leaf


@pytest.mark.parametrize("name", ["dontneed", "free", "read"])
def test_a_collapse_waits_for_readers(name: str) -> None:
    """A call or a fault in flight holds the VMA, so the collapse does not begin, and has changed nothing."""
    k = holed()
    k.start(1, name, 0)
    while not k.w.vma_readers:
        assert k.step(1)
    k.start(0, "collapse")
    before = k.w.key()

    assert not k.step(0)
    assert k.w.key() == before
    k.finish(0)
    k.finish(1)
    assert values(k) == [0, 2, 3, 4]


@given(st.integers(0, FANOUT - 1), st.integers(0, 5))
def test_a_store_in_the_window_is_copied(page: int, steps: int) -> None:
    """A store through a cached entry, until its CPU handles the flush, is in the copy; a later one comes after it."""
    k = split(cpus=3)
    k.write(1, page)
    k.start(0, "collapse", until="pmdp_collapse_flush")
    for _ in range(steps):
        k.step(0)
    k.start(1, "write", page)
    value = k.shown() if k.step(1) and not k.w.steps[1] else None
    k.finish(0)
    k.finish(1)

    assert k.read(2, page) == k.w.stamp
    assert value is None or value == k.w.stamp


def test_a_collapse_by_a_lazy_cpu() -> None:
    """The kernel thread that collapses may itself run on a lazy CPU, which the flush then takes off the tables."""
    k = split()
    k.read(1)
    k.run(1, "lazy")
    k.run(1, "collapse")

    assert k.w.lazy[1]
    assert k.w.loaded_mm[1] == INIT_MM
    assert values(k) == [1, 2, 3, 4]


def _in_a_huge_region(scenario: Scenario) -> Scenario:
    """Return the scenario over one huge page, with a collapse of it in the place of what leads elsewhere."""
    elsewhere = {kinds.MMAP, kinds.MUNMAP, kinds.MREMAP, kinds.UFFD_REGISTER, kinds.UFFD_WP}
    records = tuple(
        (kinds.COLLAPSE, cpu, run, page, 1, arg % 2)
        if kind in elsewhere
        else (kind, cpu, run, page, count, arg)
        for kind, cpu, run, page, count, arg in scenario.records
    )
    header = scenario.header._replace(pages=4, layout=kinds.HUGE)
    return decode(encode(Scenario(header, records)))


SOUND: dict[str, Callable[[], GatherFlush | EagerFlush]] = {
    "reference": EagerFlush,
    **{name: REGISTRY[name].make for name in ("always", "v3", "linux", "minimal")},
}


@pytest.mark.parametrize("name", SOUND)
@given(scenario=any_scenario(48).map(_in_a_huge_region))
def test_no_sound_run_with_collapses_is_illegal(name: str, scenario: Scenario) -> None:
    """However collapses meet faults, calls and kernel threads, the outcome is legal and every operation ends."""
    outcome = execute(scenario, SOUND[name]())

    assert outcome.verdict in ("legal", "undecided"), outcome.reason
