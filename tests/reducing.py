"""One pass of the minimizer by itself, and predicates that are easy to state."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest
from _pytest.mark.structures import ParameterSet

from shootdown.minimize.reducer import Judge, Pass, Reducer
from shootdown.scenario import Scenario, kinds, render_record

T = TypeVar("T")


def reduced(simplify: Pass, start: Scenario, interesting: Callable[[Scenario], bool]) -> Scenario:
    """Return what one pass makes of a scenario."""
    judge = Judge(interesting, 1000)
    assert judge(start)
    reducer = Reducer(start, judge, kinds.pauses_at(kinds.POINTS))
    simplify(reducer)
    return reducer.best


def lines(scenario: Scenario) -> list[str]:
    """Return the records as text."""
    return [render_record(record) for record in scenario.records]


def among(*stories: Scenario) -> Callable[[Scenario], bool]:
    """Return the predicate that accepts these scenarios and no others."""
    return lambda scenario: scenario in stories


def contains(*wanted: str) -> Callable[[Scenario], bool]:
    """Return the predicate that accepts every scenario with these records, in any order."""
    return lambda scenario: set(wanted) <= set(lines(scenario))


_LACKS = "no pass makes a load and a right to execute that is granted one fetch"
LONGER = {"issued-early": _LACKS}
"""Faults for which an input ends longer than the shortest counterexample, and why."""
MORE_FORMS = {"issued-early": _LACKS}
"""Faults whose inputs end in more forms than they should, and why."""


def lacking_some(
    names: Iterable[T], lacking: dict[str, str], fault_of: Callable[[T], str]
) -> list[ParameterSet]:
    """Return the parameters of a test that holds for each fault, except that it is expected to fail for those in
    `lacking`.
    """
    return [
        pytest.param(
            name, marks=[pytest.mark.xfail(reason=lacking[fault])] if fault in lacking else []
        )
        for name in names
        for fault in (fault_of(name),)
    ]
