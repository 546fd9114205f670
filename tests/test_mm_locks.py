"""Which locks an operation holds, at which of its steps, and whom they exclude."""

from dataclasses import replace

import pytest
from hypothesis import given

from fuzz.engines.strategies import scenarios
from fuzz.execute import execute
from fuzz.scenario import Scenario
from mm.locks import (
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    pmd_lock,
    pmd_unlock,
    pte_lock,
    pte_unlock,
)
from mm.step import Step, run_steps
from mm.world import NOBODY, WRITER, World
from optimized.policies import REGISTRY
from optimized.strategy import GatherFlush
from tests.kernel import Kernel, R

WRITE_LOCKED = ["mprotect", "munmap", "mmap", "mremap", "fork", "uffd_register"]
READ_LOCKED = ["dontneed", "free", "uffd_wp", "uffd_unwp"]
UNLOCKED = ["migrate", "reclaim", "age", "switch", "lazy"]


def try_step(w: World, cpu: int, s: Step) -> bool:
    """Let the CPU execute one step; return whether it was not blocked."""
    w.steps[cpu] = [s]
    moved = run_steps(w, cpu, 1)
    w.steps[cpu].clear()
    return moved


def test_readers_share_the_mmap_lock() -> None:
    """Several readers hold mmap_lock together, and a writer waits for the last of them."""
    w = Kernel(cpus=3).w
    assert try_step(w, 0, (mmap_read_lock, 0))
    assert try_step(w, 1, (mmap_read_lock, 0))
    assert not try_step(w, 2, (mmap_write_lock, 0))

    try_step(w, 0, (mmap_read_unlock, 0))
    assert not try_step(w, 2, (mmap_write_lock, 0))
    try_step(w, 1, (mmap_read_unlock, 0))
    assert try_step(w, 2, (mmap_write_lock, 0))


def test_a_writer_excludes_everybody() -> None:
    """While one CPU holds mmap_lock for writing, neither a reader nor a writer gets it."""
    w = Kernel(cpus=2).w
    try_step(w, 0, (mmap_write_lock, 0))

    assert not try_step(w, 1, (mmap_read_lock, 0))
    assert not try_step(w, 1, (mmap_write_lock, 0))
    try_step(w, 0, (mmap_write_unlock, 0))
    assert try_step(w, 1, (mmap_read_lock, 0))


def test_each_address_space_has_its_own_locks() -> None:
    """A lock of one address space is no lock of another."""
    w = Kernel(cpus=2).w
    for lock in ((mmap_write_lock, 0), (pmd_lock, 0), (pte_lock, 0, 0)):
        assert try_step(w, 0, lock)
    for lock in ((mmap_write_lock, 1), (pmd_lock, 1), (pte_lock, 1, 0)):
        assert try_step(w, 1, lock)


def test_each_table_has_its_own_lock() -> None:
    """The PTL of one page table leaves the other table and the PMD lock free."""
    w = Kernel(cpus=2).w
    try_step(w, 0, (pte_lock, 0, 0))

    assert not try_step(w, 1, (pte_lock, 0, 0))
    assert try_step(w, 1, (pte_lock, 0, 1))
    assert try_step(w, 1, (pmd_lock, 0))
    try_step(w, 0, (pte_unlock, 0, 0))
    assert try_step(w, 1, (pte_lock, 0, 0))


def test_the_pmd_lock_has_one_holder() -> None:
    """The PMD lock is taken by one CPU at a time."""
    w = Kernel(cpus=2).w
    try_step(w, 0, (pmd_lock, 0))

    assert not try_step(w, 1, (pmd_lock, 0))
    try_step(w, 0, (pmd_unlock, 0))
    assert try_step(w, 1, (pmd_lock, 0))


def test_a_blocked_step_changes_nothing() -> None:
    """A CPU that waits for a lock leaves the world as it is."""
    k = Kernel()
    k.start(0, "mprotect", arg=R)
    k.past(0, "mmap_write_lock")
    k.start(1, "read")
    k.until(1, "mmap_read_lock")
    before = k.w.key()

    assert not k.step(1)
    assert k.w.key() == before


def modes(k: Kernel, name: str) -> set[int]:
    """The states of mmap_lock behind the steps of an operation."""
    seen = set()
    k.w.watch = lambda w, _cpu, _s: seen.add(w.mmap_lock[0])
    k.run(0, name, page=1, arg=0 if name in UNLOCKED else 3)
    return seen


@pytest.mark.parametrize("name", WRITE_LOCKED)
def test_changes_of_regions_hold_the_mmap_lock_for_writing(name: str) -> None:
    """Operations that change regions, or copy them, hold mmap_lock for writing, and release it."""
    k = Kernel()
    k.write(0, 1)

    assert modes(k, name) == {0, WRITER}
    assert k.w.mmap_lock == [0, 0, 0]


@pytest.mark.parametrize("name", READ_LOCKED)
def test_changes_of_entries_alone_hold_it_for_reading(name: str) -> None:
    """MADV_DONTNEED, MADV_FREE and userfaultfd's changes run beside page faults."""
    k = Kernel()
    k.write(0, 1)
    k.run(0, "uffd_register", 1)

    assert modes(k, name) == {0, 1}


@pytest.mark.parametrize("name", UNLOCKED)
def test_kernel_threads_take_no_mmap_lock(name: str) -> None:
    """Whoever comes through the rmap, or only switches, does not touch mmap_lock (linux-tlb G.6)."""
    k = Kernel()
    k.write(0, 1)
    k.run(0, "free", 1)

    assert modes(k, name) == {0}


@pytest.mark.parametrize("name", WRITE_LOCKED)
def test_a_fault_waits_for_a_writer(name: str) -> None:
    """No page fault is served between the first and the last step that hold mmap_lock for writing."""
    k = Kernel()
    k.start(0, name, page=1, arg=3)
    k.start(1, "read", 0)
    k.until(1, "mmap_read_lock")
    k.past(0, "mmap_write_lock")
    while k.next(0) != "mmap_write_unlock":
        assert not k.step(1)
        assert k.step(0)
    assert not k.step(1)
    k.step(0)

    assert k.step(1)


def test_a_hit_waits_for_nobody() -> None:
    """An access that the TLB serves goes on while mmap_lock and every table lock are taken."""
    k = Kernel()
    value = k.write(0)
    k.start(1, "mprotect", arg=R)
    k.until(1, "ptep_modify_prot_commit")

    assert k.run(0, "read") == ["access"]
    assert k.shown() == value


def test_a_fault_waits_for_the_table_lock() -> None:
    """A fault that must look at an entry waits until a protection change has left the table."""
    k = Kernel()
    k.run(0, "uffd_register")
    k.read(0)
    k.start(0, "uffd_wp")
    k.past(0, "pte_lock")
    k.start(1, "write")
    k.until(1, "pte_lock")

    assert not k.step(1)
    k.past(0, "pte_unlock")
    assert k.step(1)


class HeldLock(GatherFlush):
    """Asserts, at each store to an entry, that the storing CPU holds the lock of the entry's table."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Check who holds the lock."""
        holder = (w.ptl[mm * 2 + page // 4], w.pmd_lock[mm])
        # A child that fork has not finished is reachable for nobody who stores; munmap's unhooking has mmap_lock.
        assert cpu in holder or not w.live[mm] or w.mmap_lock[mm] == WRITER


@given(scenarios(24))
def test_every_store_to_an_entry_is_made_under_its_lock(scenario: Scenario) -> None:
    """The CPU that stores an entry holds the PTL or the PMD lock, or mmap_lock for writing where nobody else walks."""
    execute(scenario, replace(REGISTRY["linux"], strategy=HeldLock).make())


@given(scenarios(24))
def test_no_lock_is_held_at_rest(scenario: Scenario) -> None:
    """When every operation has ended, all locks are free."""
    w = execute(scenario, REGISTRY["linux"].make()).world

    assert w.mmap_lock == [0] * 3
    assert {*w.pmd_lock, *w.ptl} == {NOBODY}
    assert w.page_lock == 0
    assert not any(w.irqs_off)
