"""One key for worlds that differ in names, or in what no run can tell apart; another for all that matters."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.execute import apply, boot, finish
from fuzz.oracle import Oracle, Violation
from fuzz.prove.canonical import key_of
from fuzz.scenario import Header, Scenario, parse
from fuzz.scenario.kinds import HUGE
from fuzz.scenario.record import Record
from machine.entry import ACCESSED
from mm.frames import OutOfMemoryError
from mm.world import World
from optimized.policies import REGISTRY
from tests.strategies import any_scenario

STRATEGY = REGISTRY["linux"].make()


def after(*lines: str, cpus: int = 2, pages: int = 2) -> tuple[World, Oracle]:
    """The world after the records, and its oracle."""
    head = f"shootdown-scenario 1\ncpus {cpus}\npages {pages}\nlayout private\n\n"
    scenario = parse(head + "\n".join(lines) + "\n").scenario
    w, oracle = boot(scenario.header, STRATEGY)
    for record in scenario.records:
        apply(w, record)
    return w, oracle


def key(*lines: str, cpus: int = 2, pages: int = 2) -> int:
    """The key of that world."""
    w, oracle = after(*lines, cpus=cpus, pages=pages)
    return key_of(w, oracle)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["cpu0 write p0", "cpu0 write p1"], ["cpu0 write p1", "cpu0 write p0"]),
        (["cpu0 write p0"], ["cpu1 write p0"]),
        (["cpu0 write p0", "cpu1 read p0"], ["cpu1 write p0", "cpu0 read p0"]),
        (["cpu0 write p0"], ["cpu0 write p0", "cpu0 write p0"]),
        (
            ["cpu0 write p0", "cpu0 dontneed p0"],
            ["cpu0 write p0", "cpu0 dontneed p0", "cpu0 write p0", "cpu0 dontneed p0"],
        ),
        (
            ["cpu0 write p0", "cpu1 dontneed p0 until flush"],
            ["cpu1 write p0", "cpu0 dontneed p0 until flush"],
        ),
        (
            ["cpu0 write p0", "cpu1 uffd_register p0", "cpu0 mprotect p0 r until ack"],
            ["cpu1 write p0", "cpu0 uffd_register p0", "cpu1 mprotect p0 r until ack"],
        ),
    ],
)
def test_one_key(one: list[str], other: list[str]) -> None:
    """The order of allocation, the CPU's number, the value that was stored and how often: names, or not to be seen."""
    assert key(*one) == key(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["cpu0 write p0"], ["cpu0 read p0"]),
        (["cpu0 write p0"], ["cpu0 write p1"]),
        (["cpu0 write p0"], ["cpu0 write p0", "cpu1 fill p0"]),
        (["cpu0 write p0"], ["cpu0 write p0", "cpu0 evict p0"]),
        (["cpu0 write p0"], ["cpu0 write p0", "cpu0 fork"]),
        (["cpu0 mprotect p0 r"], ["cpu0 mprotect p0 rx"]),
        (["cpu0 mprotect p0 r until commit"], ["cpu0 mprotect p0 rx until commit"]),
        (["cpu0 dontneed p0 for 1"], ["cpu0 dontneed p0 for 2"]),
        (
            ["cpu0 write p0", "cpu1 fill p0", "cpu0 mprotect p0 r until ack"],
            ["cpu0 write p0", "cpu1 fill p0", "cpu0 mprotect p0 r until ack", "cpu1 evict p0"],
        ),
        (
            ["cpu0 write p0", "cpu1 mprotect p0 r until return"],
            ["cpu0 write p0", "cpu1 mprotect p0 r"],
        ),
    ],
)
def test_different_keys(one: list[str], other: list[str]) -> None:
    """A TLB entry, a right, a mapping, a place in an operation, a version that may still be shown: all of it counts."""
    assert key(*one) != key(*other)


def accessed(w: World) -> None:
    """No entry has the accessed bit."""
    w.machine.memory[:] = [word & ~ACCESSED if word & 1 else word for word in w.machine.memory]


def locked(w: World) -> None:
    """CPU 1 holds a page-table lock."""
    w.ptl[0] = 1


def pending(w: World) -> None:
    """One more gather is open."""
    w.flush_state.pending[0] += 1


def behind(w: World) -> None:
    """One more flush was sent."""
    w.flush_state.tlb_gen[0] += 1


def lazy(w: World) -> None:
    """CPU 0 is lazy."""
    w.lazy[0] = True


@pytest.mark.parametrize("change", [accessed, locked, pending, behind, lazy])
def test_state_that_operations_change_is_in_the_key(change: Callable[[World], None]) -> None:
    """Bits in memory, lock holders, counters and generations."""
    w, oracle = after("cpu0 write p0", "cpu1 dontneed p0 until flush")
    before = key_of(w, oracle)
    change(w)

    assert key_of(w, oracle) != before


def test_the_order_of_reuse_counts_for_frames_that_a_tlb_still_names() -> None:
    """Two freed frames are handed out in the order of their freeing, and one of them is still cached."""
    lines = ["cpu0 write p0", "cpu0 write p1", "cpu0 dontneed p0-p1"]
    w, oracle = after(*lines)
    first = key_of(w, oracle)
    w.freed[-2:] = w.freed[:-3:-1]
    assert key_of(w, oracle) == first

    w.machine.tlb[1] = {0: w.freed[-1] << 8 | 6}
    second = key_of(w, oracle)
    w.freed[-2:] = w.freed[:-3:-1]
    assert key_of(w, oracle) != second


def played(scenario: Scenario, records: tuple[Record, ...]) -> tuple[World, Oracle] | None:
    """The world after the records, None when the run ends before."""
    w, oracle = boot(scenario.header, STRATEGY)
    try:
        for record in records:
            apply(w, record)
    except (Violation, OutOfMemoryError):
        return None
    return w, oracle


@given(any_scenario(), st.integers(0, 32), st.integers(1, 7))
def test_rotating_the_cpus_keeps_the_key(scenario: Scenario, cut: int, by: int) -> None:
    """Anywhere in a run, the same run on other CPUs has the same key.

    A blocked CPU waits for the next one that can move, which a rotation keeps.
    """
    cpus = scenario.header.cpus
    records = scenario.records[:cut]
    turned = tuple((r[0], (r[1] + by) % cpus, *r[2:]) for r in records)
    huge = scenario.header.layout == HUGE or any(r[0] == 5 for r in records)
    one, other = played(scenario, records), played(scenario, turned)

    assert (one is None) == (other is None)
    if one and other:
        assert key_of(*one, huge=huge) == key_of(*other, huge=huge)


@given(any_scenario(), st.integers(0, 32))
def test_a_fork_has_the_same_key_and_goes_on_alike(scenario: Scenario, cut: int) -> None:
    """Copying a world with its oracle loses nothing that the rest of a run can show."""
    start = played(scenario, scenario.records[:cut])
    if start is None:
        return
    w, oracle = start
    copy, judge = oracle.fork()
    assert key_of(copy, judge, huge=True) == key_of(w, oracle, huge=True)

    ends = []
    for each in (w, copy):
        shown = ""
        try:
            for record in scenario.records[cut:]:
                apply(each, record)
            for cpu in range(each.cpus):
                finish(each, cpu)
        except Violation as violation:
            shown = violation.reason
        except OutOfMemoryError:
            shown = "out of memory"
        ends.append((shown, each.key(), each.costs))
    assert ends[0] == ends[1]


def test_the_key_is_the_same_in_every_process() -> None:
    """A checkpoint outlives the process: no hash that Python salts is part of a key."""
    code = (
        "from fuzz.execute import boot; from fuzz.prove.canonical import key_of; from fuzz.scenario import Header;"
        " from optimized.policies import REGISTRY;"
        " print(key_of(*boot(Header(2, 2), REGISTRY['linux'].make())))"
    )
    shown = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "2")
    }

    assert shown == {f"{key_of(*boot(Header(2, 2), STRATEGY))}\n"}
