"""Proofs about a kernel's own text: which worlds are one, and what is found."""

import shutil
from pathlib import Path

import pytest

from shootdown.kernel.library import Library
from shootdown.kernel.machinery import PLAIN
from shootdown.kernel.splicer import GATHERING
from shootdown.kernel.state import KernelState
from shootdown.kernel.strategy import KernelFlush
from shootdown.mm.step import run_steps
from shootdown.mm.world import FlushStrategy, World
from shootdown.prove.canonical import key_of
from shootdown.run.execute import apply, boot
from shootdown.run.oracle import Oracle
from shootdown.scenario import Scenario
from tests.changed_trees import SWITCHING_IGNORED, changed, kernel_strategy
from tests.command import inside
from tests.proving import story
from tests.trees import TREES

NEWEST = TREES[-1:]
FORM = (1, PLAIN)
"""The library for one ASID in which proofs run."""


def begun(scenario: Scenario, strategy: FlushStrategy) -> tuple[World, Oracle]:
    """Return the world after all records of a scenario, and its oracle."""
    w, oracle = boot(scenario.header, strategy)
    for record in scenario.records:
        apply(w, record)
    return w, oracle


def key_after(lines: str, strategy: FlushStrategy, head: str = "2 2 private") -> int:
    """Return the key of the world after the records of a story."""
    return key_of(*begun(story(head, lines), strategy))


def stepped(schedule: str, lines: str, strategy: FlushStrategy) -> int:
    """Return the key of the world after a story and then single steps, each of the CPU that a digit names."""
    w, oracle = begun(story("2 2 private", lines), strategy)
    for cpu in schedule:
        assert run_steps(w, int(cpu), 1)
    return key_of(w, oracle)


IN_FLIGHT = "cpu0 write p0, cpu1 poke p0 for 1, cpu0 mprotect p0 r for 1"
"""Two calls of the text follow on two CPUs: one enters the temporary space, the other one opens a gather."""


@pytest.mark.parametrize("tree", TREES)
def test_two_orders_of_steps_that_commute_are_one_world(tree: Path) -> None:
    """Steps that touch nothing in common give one key in either order, in the middle of the calls."""
    strategy = kernel_strategy(tree)

    keys = {stepped(order, IN_FLIGHT, strategy) for order in ("0011", "1100", "0101", "1010")}

    assert len(keys) == 1
    assert stepped("001", IN_FLIGHT, strategy) not in keys


@pytest.mark.parametrize("tree", TREES)
def test_a_call_leaves_nothing_on_its_stack(tree: Path) -> None:
    """A CPU that has come back from a kernel thread twice is as after once, whatever ran on its stack meanwhile."""
    strategy = kernel_strategy(tree)
    there_and_back = "cpu1 lazy, cpu1 switch mm0"
    once = key_after(there_and_back, strategy)

    assert key_after(f"{there_and_back}, {there_and_back}", strategy) == once
    begun(story("2 2 private", IN_FLIGHT), strategy)
    assert key_after(there_and_back, strategy) == once


@pytest.mark.parametrize("tree", NEWEST)
def test_a_variable_that_a_patch_adds_is_in_the_key(tree: Path, tmp_path: Path) -> None:
    """Two worlds that differ only in a static counter of a changed text have two keys; without it they are one."""
    begin = "void tlb_finish_mmu(struct mmu_gather *tlb)\n{\n"
    counter = f"{begin}\tstatic unsigned int finished;\n\tWARN_ON(++finished > 9);\n"
    counts = kernel_strategy(changed(tree, tmp_path, (begin, counter), file=GATHERING))
    once = "cpu1 mprotect p0 r"
    twice = f"cpu1 mprotect p0 none, {once}"

    assert key_after(once, kernel_strategy(tree)) == key_after(twice, kernel_strategy(tree))
    assert key_after(once, counts) != key_after(twice, counts)


@pytest.mark.parametrize("tree", NEWEST)
def test_a_key_has_no_address(tree: Path, tmp_path: Path) -> None:
    """A key is the same where the library is at another address, so a checkpoint can be read by another process."""
    strategy, other = kernel_strategy(tree), kernel_strategy(tree)
    assert isinstance(strategy, KernelFlush)
    assert isinstance(other, KernelFlush)
    copy = tmp_path / "copy.so"
    shutil.copy(strategy.machinery.library(*FORM), copy)
    other.libraries[FORM] = Library(copy, strategy.machinery.sources)
    w, oracle = begun(story("2 2 private", IN_FLIGHT), strategy)
    v, judge = begun(story("2 2 private", IN_FLIGHT), other)

    assert w.flush_state.library.c.kernel_notes() != v.flush_state.library.c.kernel_notes()
    while any(w.steps):
        for cpu in range(2):
            assert run_steps(w, cpu, 1) == run_steps(v, cpu, 1)
            assert key_of(w, oracle) == key_of(v, judge)


@pytest.mark.parametrize("tree", NEWEST)
def test_what_is_kept_beside_the_text_is_in_the_key(tree: Path) -> None:
    """Each change of what the strategy itself keeps gives another key: pages and tables of gathers, deferred work."""
    w, oracle = begun(story("2 2 private", IN_FLIGHT), kernel_strategy(tree))
    state: KernelState = w.flush_state
    keys = [key_of(w, oracle)]
    state.gather_mm[1] = 0
    keys.append(key_of(w, oracle))
    state.gather_pages[1].append((5, 1))
    keys.append(key_of(w, oracle))
    state.tables[6] = (0, 1)
    keys.append(key_of(w, oracle))
    state.batched[0] += 1
    keys.append(key_of(w, oracle))
    state.batched_flushed[0] += 1
    keys.append(key_of(w, oracle))
    state.deferred[0].append((0, 1, 1, 0))
    keys.append(key_of(w, oracle))
    state.unmapping = 1
    keys.append(key_of(w, oracle))
    state.need_tlbsync = 1
    keys.append(key_of(w, oracle))

    assert len(set(keys)) == 9


@pytest.mark.parametrize("tree", NEWEST)
def test_a_copy_goes_its_own_way(tree: Path) -> None:
    """Whatever a copy of a world does, in the middle of a call, the world itself stays, and each goes on by itself."""
    w, oracle = begun(story("2 2 private", IN_FLIGHT), kernel_strategy(tree))
    key = key_of(w, oracle)
    copy, judge = oracle.fork()
    assert key_of(copy, judge) == key

    ways = {key}
    for _ in range(5):
        assert run_steps(copy, 0, 1)
        ways.add(key_of(copy, judge))
        assert key_of(w, oracle) == key
    assert len(ways) == 6
    for _ in range(5):
        assert run_steps(w, 0, 1)
    assert key_of(w, oracle) == key_of(copy, judge)


@pytest.mark.parametrize("tree", NEWEST)
def test_the_command(tree: Path, tmp_path: Path) -> None:
    """The counterexample of the command is a scenario that shows the same."""
    broken = changed(tree, tmp_path / "broken", SWITCHING_IGNORED)
    words = "--pages 1 --ops 3 --operations read,poke,mprotect --workers 1 --quiet"
    ended = inside(tmp_path, "prove", "--policy", f"c:{broken}", *words.split())

    assert ended.code == 1
    assert "Illegal: C6 stale-entry-at-rest with 3 operations, and none with fewer." in ended.out
    name = ended.out.splitlines()[-1].split()[3]
    again = inside(tmp_path, "replay", name)
    assert (again.code, "C6 stale-entry-at-rest" in again.out) == (1, True)
