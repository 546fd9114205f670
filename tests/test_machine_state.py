"""The machine as plain data: copies, keys, frames and poison."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.machine.entry import GLOBAL, READ, WRITE
from shootdown.machine.geometry import FANOUT, FRAME_BITS
from shootdown.machine.x86 import POISON_ALLOC, POISON_FREE, Machine
from shootdown.scenario.switches import DECLARED
from shootdown.table.attributes import AttributeMachine
from tests.paging import DATA, LEAF, OTHER, PCID, ROOT, frame_in, machine_with, set_leaf

ACTIONS: list[Callable[[Machine, int], object]] = [
    lambda m, page: m.access(0, page, READ),
    lambda m, page: m.access(1, page, WRITE),
    lambda m, page: m.fill(0, page),
    lambda m, page: m.evict(1, page),
    lambda m, page: m.invlpg(0, page),
    lambda m, page: m.invpcid_context(1, page & 1),
    lambda m, page: m.load_cr3(0, ROOT, page & 1, noflush=bool(page & 2)),
    lambda m, page: set_leaf(m, LEAF if page & 1 else 0, page=page & 3, frame=OTHER),
    lambda m, page: m.poison(DATA, page),
]
PROGRAMS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 7)), max_size=12)
Program = list[tuple[Callable[[Machine, int], object], int]]


def play(m: Machine, program: Program) -> Machine:
    """Carry out the actions on the machine."""
    for action, page in program:
        action(m, page)
    return m


@given(PROGRAMS, PROGRAMS)
def test_a_copy_is_equal_and_independent(before: Program, after: Program) -> None:
    """A copy has the same key, keeps it whatever the original does, and then does the same."""
    m = play(machine_with(LEAF, cpus=2), before)
    copy, key = m.copy(), m.key()
    play(m, after)

    assert copy.key() == key
    assert play(copy, after).key() == m.key()


@pytest.mark.parametrize("machine_type", [Machine, AttributeMachine])
@pytest.mark.parametrize("switch", [each.keyword for each in DECLARED if each.keyword])
def test_a_copy_keeps_the_switches(machine_type: type[Machine], switch: str) -> None:
    """The machine's switches are part of the copy."""
    machine = machine_type(1, **{switch: True})
    copy = machine.copy()
    plain, chosen, copied = (
        {name: getattr(each, name) for name in dir(each) if isinstance(getattr(each, name), bool)}
        for each in (machine_type(1), machine, copy)
    )

    assert type(copy) is machine_type
    assert plain != chosen == copied


def test_a_copy_knows_of_global_entries() -> None:
    """A global entry is hit in a copy as in the original."""
    m = machine_with(LEAF | GLOBAL)
    m.access(0, 0, READ)
    copy = m.copy()
    set_leaf(copy, 0)
    copy.load_cr3(0, ROOT, PCID + 1, noflush=False)

    assert frame_in(copy.access(0, 0, READ)) == DATA


CHANGES: dict[str, Callable[[Machine], object]] = {
    "memory": lambda m: m.poison(DATA, 1),
    "generation": lambda m: m.generation.__setitem__(DATA, 1),
    "tlb": lambda m: m.access(0, 0, READ),
    "psc": lambda m: m.psc[0].update({0: 1}),
    "cr3": lambda m: m.load_cr3(0, OTHER, PCID, noflush=True),
    "pcid": lambda m: m.load_cr3(0, ROOT, PCID + 1, noflush=True),
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_key_sees_each_part_of_the_state(part: str) -> None:
    """Memory, generations, both caches, CR3 and PCID are all in the key, which can be hashed."""
    m = machine_with(LEAF)
    key = m.key()
    assert len({key, m.copy().key()}) == 1
    CHANGES[part](m)

    assert m.key() != key


def test_an_entry_carries_the_incarnation_of_its_frame() -> None:
    """A TLB entry remembers the generation that its frame had at the walk; a later walk sees the new one."""
    m = machine_with(LEAF)
    old = m.access(0, 0, READ)
    m.generation[DATA] += 1

    assert old >> 14 == 0
    assert m.access(0, 0, READ) == old
    m.invlpg(0, 0)
    assert m.access(0, 0, READ) >> 14 == 1


def test_poison_fills_one_frame() -> None:
    """Poison reaches every word of its frame and none of another."""
    m = Machine(1)
    m.poison(DATA, 7)

    assert [m.read_entry(DATA, i) for i in range(FANOUT)] == [7] * FANOUT
    assert m.memory.count(7) == FANOUT


@pytest.mark.parametrize("pattern", [POISON_FREE, POISON_ALLOC])
def test_poison_translates_nothing(pattern: int) -> None:
    """A walk through a poisoned table faults as not present: stale walks never invent a frame."""
    m = machine_with(LEAF)
    m.access(0, 0, READ)
    m.poison(2, pattern)

    assert len({POISON_FREE, POISON_ALLOC}) == 2
    assert m.access(0, 1, READ) < 0
    assert 1 not in {key & 7 for key in m.tlb[0]}


def test_entries_are_stored_where_they_are_read() -> None:
    """write_entry and read_entry name the same word, which a walk uses."""
    m = machine_with(0)
    m.write_entry(2, 3, FRAME_BITS[OTHER] | LEAF)

    assert m.read_entry(2, 3) == FRAME_BITS[OTHER] | LEAF
    assert frame_in(m.access(0, 3, READ)) == OTHER
