"""Which locks an operation holds, at which of its steps, and which operations they exclude."""

from dataclasses import replace

import pytest
from hypothesis import given

from shootdown.fuzz.engines.strategies import scenarios
from shootdown.mm.declaration import Lock
from shootdown.mm.fault import fault_missing
from shootdown.mm.locks import (
    mmap_read_trylock,
    mmap_write_trylock,
    pmd_lock,
    pmd_unlock,
    pte_lock,
    pte_unlock,
)
from shootdown.mm.munmap import free_pgtable
from shootdown.mm.operation import pte_lock_batched, read_unlock_return, write_unlock_return
from shootdown.mm.operations import BY_NAME, OPERATIONS
from shootdown.mm.state import NOBODY, WRITER, State, Step
from shootdown.mm.step import run_steps
from shootdown.mm.swap_in import swap_in_install
from shootdown.mm.world import World
from shootdown.mm.zap import zap_table_if_empty
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.strategy import GatherFlush
from shootdown.run.execute import execute
from shootdown.scenario import Scenario
from tests.kernel import Kernel, R, Told, written
from tests.strategies import any_scenario

WRITE_LOCKED = sorted(each.name for each in OPERATIONS if each.lock is Lock.WRITE)
READ_LOCKED = ["numa_scan", "uffd_wp", "uffd_unwp"]
UNLOCKED = sorted(each.name for each in OPERATIONS if each.kernel and each.lock is not Lock.WRITE)


def try_step(w: World, cpu: int, s: Step) -> bool:
    """Let the CPU execute one step; return whether it was not blocked."""
    w.steps[cpu] = [s]
    moved = run_steps(w, cpu, 1)
    w.steps[cpu].clear()
    return moved


def test_readers_share_the_mmap_lock() -> None:
    """Several readers hold mmap_lock together, and a writer gets it when the last of them has released it."""
    w = Kernel(cpus=3).w
    assert mmap_read_trylock(w, 0)
    assert mmap_read_trylock(w, 0)
    assert not mmap_write_trylock(w, 0)

    assert try_step(w, 0, (read_unlock_return, 0))
    assert not mmap_write_trylock(w, 0)
    assert try_step(w, 1, (read_unlock_return, 0))
    assert mmap_write_trylock(w, 0)


def test_a_writer_excludes_everybody() -> None:
    """While one CPU holds mmap_lock for writing, neither a reader nor a writer gets it."""
    w = Kernel(cpus=2).w
    assert mmap_write_trylock(w, 0)

    assert not mmap_read_trylock(w, 0)
    assert not mmap_write_trylock(w, 0)
    assert try_step(w, 0, (write_unlock_return, 0))
    assert mmap_read_trylock(w, 0)


@pytest.mark.parametrize("held", [1, 2, WRITER])
def test_who_does_not_get_the_mmap_lock_leaves_it_as_it_is(held: int) -> None:
    """An attempt that fails has no effect."""
    w = Kernel().w
    w.mmap_lock[0] = held
    before = w.key()

    assert not mmap_write_trylock(w, 0)
    if held == WRITER:
        assert not mmap_read_trylock(w, 0)
    assert w.key() == before


def test_each_address_space_has_its_own_locks() -> None:
    """A lock of one address space is no lock of another."""
    w = Kernel(cpus=2).w
    for cpu in (0, 1):
        assert mmap_write_trylock(w, cpu)
        for lock in ((pmd_lock, cpu), (pte_lock, cpu, 0), (pte_lock_batched, cpu, 1)):
            assert try_step(w, cpu, lock)


@pytest.mark.parametrize("lock", [pte_lock, pte_lock_batched])
def test_each_table_has_its_own_lock(lock: int) -> None:
    """The PTL of one page table leaves the other table and the PMD lock free, whichever step takes it."""
    w = Kernel(cpus=2).w
    assert try_step(w, 0, (lock, 0, 0))

    assert not try_step(w, 1, (pte_lock, 0, 0))
    assert not try_step(w, 1, (pte_lock_batched, 0, 0))
    assert try_step(w, 1, (lock, 0, 1))
    assert try_step(w, 1, (pmd_lock, 0))
    try_step(w, 0, (pte_unlock, 0, 0))
    assert try_step(w, 1, (lock, 0, 0))


def test_the_pmd_lock_has_one_holder() -> None:
    """The PMD lock is taken by one CPU at a time."""
    w = Kernel(cpus=2).w
    try_step(w, 0, (pmd_lock, 0))

    assert not try_step(w, 1, (pmd_lock, 0))
    try_step(w, 0, (pmd_unlock, 0))
    assert try_step(w, 1, (pmd_lock, 0))


@pytest.mark.parametrize("name", [*WRITE_LOCKED, *READ_LOCKED, "read"])
def test_a_blocked_step_changes_nothing(name: str) -> None:
    """A CPU that waits for mmap_lock leaves the world as it is, and goes on when the lock is free."""
    k = Kernel()
    k.start(0, "mprotect", arg=R, past="mmap_write_lock, mprotect_fixup")
    k.start(1, name, 1)
    if name == "read":
        k.until(1, "page fault")
    before = k.w.key()

    assert not k.step(1)
    assert k.w.key() == before
    k.finish(0)
    assert k.step(1)


@pytest.mark.parametrize("lock", [(pte_lock, 0, 0), (pte_lock_batched, 0, 0), (pmd_lock, 0)])
def test_a_blocked_table_lock_changes_nothing(lock: Step) -> None:
    """A CPU that waits for a table's lock leaves the world as it is, deferred flushes included."""
    k = written()
    k.w.flush.defer_unmap(k.w, 0, 0, 0)
    k.w.ptl[0] = k.w.pmd_lock[0] = 0
    k.w.steps[1] = [lock]
    before = k.w.key()

    assert not k.step(1)
    assert k.w.key() == before


def argument(name: str) -> int:
    """Return an argument for an operation on address space 0: this number for a kernel thread, else rights
    or a page.
    """
    return 0 if BY_NAME[name].kernel else 3


def modes(k: Kernel, name: str) -> set[int]:
    """Return the states of mmap_lock after the steps of an operation."""
    seen = set()
    k.w.watch = Told(lambda w, _cpu, _s: seen.add(w.mmap_lock[0]))
    k.run(0, name, page=1, arg=argument(name))
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
    """The NUMA scan and userfaultfd's changes run in parallel with page faults."""
    k = Kernel()
    k.write(0, 1)
    k.run(0, "uffd_register", 1)

    assert modes(k, name) == {0, 1}


@pytest.mark.parametrize("name", UNLOCKED)
def test_kernel_threads_take_no_mmap_lock(name: str) -> None:
    """An operation that comes through the rmap, or only switches, does not touch mmap_lock (linux-tlb G.6)."""
    k = Kernel()
    k.write(0, 1)
    k.run(0, "free", 1)

    assert modes(k, name) == {0}


@pytest.mark.parametrize("name", [*WRITE_LOCKED, *READ_LOCKED])
def test_an_operation_takes_the_mmap_lock_first_and_releases_it_last(name: str) -> None:
    """The first step takes mmap_lock, the last one releases it and ends the operation, and all steps
    between hold it.
    """
    k = Kernel()
    k.write(0, 1)
    k.run(0, "uffd_register", 1)
    held = WRITER if name in WRITE_LOCKED else 1
    kind = "write" if name in WRITE_LOCKED else "read"
    k.start(0, name, page=1, arg=argument(name))
    assert k.w.mmap_lock[0] == 0
    assert k.next(0).startswith(f"mmap_{kind}_lock, ")
    while k.step(0) and k.next(0):
        assert k.w.mmap_lock[0] == held
        assert k.w.op[0] != -1

    assert k.names[0][-1] == f"mmap_{kind}_unlock, return"
    assert k.w.mmap_lock[0] == 0
    assert k.w.op[0] == -1


def test_munmap_lets_readers_in_when_its_regions_are_gone() -> None:
    """Faults wait until the regions are unhooked, and are served while pages are zapped and tables freed."""
    k = Kernel()
    k.write(0, 0)
    k.start(0, "munmap", 0)
    k.start(1, "read", 1)
    assert k.step(0)
    assert k.names[0] == ["mmap_write_lock, do_vmi_align_munmap, mmap_write_downgrade"]

    k.past(1, "vma_end_read, retry")
    assert k.w.mmap_lock[0] == 1
    k.finish(0)
    assert k.names[0][-1] == "mmap_read_unlock, return"


def test_a_hit_waits_for_nobody() -> None:
    """An access that the TLB serves goes on while mmap_lock and every table lock are taken."""
    k = Kernel()
    value = k.write(0)
    k.start(1, "mprotect", arg=R, until="ptep_modify_prot_commit")

    assert k.run(0, "read") == ["access"]
    assert k.shown() == value


def test_a_fault_waits_for_the_table_lock() -> None:
    """A fault that must look at an entry waits until a protection change has left the table."""
    k = Kernel()
    k.run(0, "uffd_register")
    k.read(0)
    k.start(0, "uffd_wp", past="pte_lock, flush_tlb_batched_pending")
    k.start(1, "write", until="pte_lock")

    assert not k.step(1)
    k.past(0, "pte_unlock")
    assert k.step(1)


class HeldLock(GatherFlush):
    """Notes, for each store to an entry, whether the storing CPU holds the lock of the entry's table.

    `without`: the CPU and the two locks at each store since the last step that was made without the lock.
    """

    without: list[tuple[int, int, int]]

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Note which CPUs hold the locks."""
        ptl, pmd = w.ptl[mm * 2 + page // 4], w.pmd_lock[mm]
        # No CPU that stores can reach a child that fork has not finished.
        if cpu not in (ptl, pmd) and w.live[mm] and w.mmap_lock[mm] != WRITER:
            self.without.append((cpu, ptl, pmd))


@given(any_scenario(24))
def test_every_store_to_an_entry_is_made_under_its_lock(scenario: Scenario) -> None:
    """The CPU that stores an entry holds the PTL or the PMD lock, or mmap_lock for writing if no other walk is
    possible.

    do_anonymous_page, do_swap_page where it maps the folio, and zap_pte_table_if_empty are each a section under the PTL
    in one step: they store one entry while no CPU holds the PTL.
    """
    strategy = replace(REGISTRY["linux"], strategy=HeldLock).make()
    assert isinstance(strategy, HeldLock)
    strategy.without = []

    def check(_w: State, cpu: int, s: Step) -> None:
        if s[0] == free_pgtable:
            # No region is left above the table, and its lock is free: no operation can reach it any more.
            strategy.without.clear()
        elif s[0] in (fault_missing, swap_in_install, zap_table_if_empty):
            assert [store[:2] for store in strategy.without] in ([], [(cpu, NOBODY)])
        else:
            assert strategy.without == []
        strategy.without.clear()

    execute(scenario, strategy, watch=Told(check))


@given(scenarios(24))
def test_no_lock_is_held_at_rest(scenario: Scenario) -> None:
    """When every operation has ended, all locks are free."""
    w = execute(scenario, REGISTRY["linux"].make()).world

    assert w.mmap_lock == w.vma_written == [0] * 3
    assert not w.vma_readers
    assert {*w.pmd_lock, *w.ptl} == {NOBODY}
    assert w.page_lock == 0
    assert not any(w.irqs_off)
