"""Who answers the events of a run: each part of the observer has one class that a reader can name."""

import pytest

from shootdown.mm.observer import Accesses, Contents, Frames, Observer, Regions, Walkers
from shootdown.reference.history import History
from shootdown.reference.objects import Objects
from shootdown.run.oracle import Oracle

ANSWERS = (
    (Contents, Objects, {"merged"}),
    (Regions, History, {"lock_missing", "skipped"}),
    (Accesses, Oracle, set[str]()),
    (Frames, Oracle, set[str]()),
    (Walkers, Oracle, set[str]()),
)


def events(part: type) -> set[str]:
    """The events that a part of the protocol declares."""
    return {name for name in vars(part) if not name.startswith("_")}


@pytest.mark.parametrize(("part", "answering", "elsewhere"), ANSWERS)
def test_a_part_is_answered_by_one_class(part: type, answering: type, elsewhere: set[str]) -> None:
    """Every event of the part is a method of the class itself, but for those that need what a deriving class knows."""
    assert events(part)
    assert events(part) - vars(answering).keys() == elsewhere


def test_the_oracle_answers_every_event() -> None:
    """No event of any part is left to the protocol's empty method."""
    parts = [part for part in Observer.__mro__ if part.__module__ == Observer.__module__]
    every = set().union(*map(events, parts))

    assert len(every) > 40
    classes = (Oracle, History, Objects)
    assert {name for name in every if not any(name in vars(each) for each in classes)} == set()
