"""Objects of state copy and compare themselves, by all the fields that they have."""

from collections.abc import Callable

import pytest

from shootdown.machine.plain import Plain
from shootdown.optimized.state import Gather, X86State


class Inner(Plain):
    """A part of the state."""

    def __init__(self) -> None:
        self.places = [3]


class Outer(Plain):
    """An object with a field of each kind."""

    SHARED = frozenset({"strategy"})
    COUNTERS = frozenset({"cost"})

    def __init__(self) -> None:
        self.number = 1
        self.flag = False
        self.none: int | None = None
        self.pair = (1, 2)
        self.numbers = [1, 2]
        self.pairs = [(1, 2)]
        self.lists = [[1], [2]]
        self.parts: list[Inner | None] = [None, Inner()]
        self.by_number = {1: 2}
        self.lists_by_number = {1: [2]}
        self.living = {1, 2}
        self.part = Inner()
        self.cost = [0]
        self.strategy = object()


CHANGES: dict[str, Callable[[Outer], object]] = {
    "number": lambda o: setattr(o, "number", 2),
    "flag": lambda o: setattr(o, "flag", True),
    "none": lambda o: setattr(o, "none", 0),
    "pair": lambda o: setattr(o, "pair", (1, 3)),
    "numbers": lambda o: o.numbers.append(3),
    "pairs": lambda o: o.pairs.append((3, 4)),
    "lists": lambda o: o.lists[1].append(3),
    "parts": lambda o: o.parts.__setitem__(0, Inner()),
    "by_number": lambda o: o.by_number.update({3: 4}),
    "lists_by_number": lambda o: o.lists_by_number[1].append(3),
    "living": lambda o: o.living.add(3),
    "part": lambda o: o.part.places.append(4),
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_copy_is_equal_and_apart(field: str) -> None:
    """A copy has the same key, and a change of one of its fields does not reach the original."""
    original = Outer()
    copy, key = original.copy(), original.key()
    assert copy.key() == key

    CHANGES[field](copy)

    assert original.key() == key != copy.key()


def test_the_changes_are_of_all_fields() -> None:
    """CHANGES leaves no field of the state out."""
    assert CHANGES.keys() == vars(Outer()).keys() - Outer.SHARED - Outer.COUNTERS


def test_what_is_no_state_is_shared() -> None:
    """A copy has the same strategy object, and no key contains it."""
    original = Outer()
    copy = original.copy()
    assert copy.strategy is original.strategy

    copy.strategy = object()

    assert copy.key() == original.key()


def test_a_cost_goes_on_and_is_in_no_key() -> None:
    """A copy has its own counters, and objects that differ only in them are equal."""
    original = Outer()
    original.cost[0] = 5
    copy = original.copy()
    copy.cost[0] += 1

    assert (original.cost, copy.cost) == ([5], [6])
    assert copy.key() == original.key()


def test_a_key_can_be_hashed() -> None:
    """Keys are elements of sets, and equal objects are one element."""
    assert len({Outer().key(), Outer().copy().key()}) == 1


class Extended(X86State):
    """A state with an additional field; it is interpreted even if the model is compiled."""

    def __init__(self) -> None:
        super().__init__(2, 2, 2)
        self.epochs = [(1, 2)]


def test_a_field_that_a_policy_adds_is_copied() -> None:
    """A class that extends the state of the optimized model does not list its fields anywhere."""
    state = Extended()
    state.gathers[1] = Gather(0)
    copy = state.copy()
    assert type(copy) is Extended
    assert copy.key() == state.key()

    copy.epochs.append((3, 4))
    gather = copy.gathers[1]
    assert gather is not None
    gather.record(0, 1)

    assert state.epochs == [(1, 2)]
    assert state.gathers[1] is not None
    assert not state.gathers[1].end
    assert copy.key() != state.key()
