"""The classes that answer the events of a run: each part of the observer is judged in the file of its name alone."""

from importlib import import_module

import pytest

from shootdown.mm.observer import Contents, Observer, Regions
from shootdown.reference.history import History
from shootdown.reference.objects import Objects
from shootdown.run.oracle import Oracle
from tests.parts import methods, parts_of, word

PARTS = parts_of(Observer)
EVERY = set().union(*map(methods, PARTS))


@pytest.mark.parametrize("part", PARTS, ids=word)
def test_a_part_is_judged_in_the_file_of_its_name(part: type) -> None:
    """The class in the file answers events of this part alone, and all those that History and Objects do not keep."""
    module = import_module(f"shootdown.run.oracle.{word(part)}")
    (judge,) = (each for each in Oracle.__mro__ if each.__module__ == module.__name__)
    judged = EVERY & vars(judge).keys()

    assert judged
    assert judged <= methods(part)
    assert methods(part) - judged <= vars(History).keys() | vars(Objects).keys()


@pytest.mark.parametrize(
    ("part", "keeping", "elsewhere"),
    [(Contents, Objects, {"merged"}), (Regions, History, {"lock_missing", "skipped"})],
)
def test_a_part_is_kept_by_one_class(part: type, keeping: type, elsewhere: set[str]) -> None:
    """Objects keeps the contents of the frames and History the pages, except the events that only the oracle needs."""
    assert methods(part) - vars(keeping).keys() == elsewhere


def test_nothing_is_judged_beside_the_parts() -> None:
    """Every event is answered, and none by the class that joins the judges."""
    answered = {name for name in EVERY if any(name in vars(each) for each in Oracle.__mro__)}

    assert answered == EVERY
    assert not EVERY & vars(Oracle).keys()
