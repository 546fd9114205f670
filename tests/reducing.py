"""One pass of the minimizer by itself, and predicates that are easy to state."""

from collections.abc import Callable

import pytest
from _pytest.mark.structures import ParameterSet

from fuzz.minimize.reducer import Judge, Pass, Reducer
from fuzz.scenario import Scenario, render_record


def reduced(simplify: Pass, start: Scenario, interesting: Callable[[Scenario], bool]) -> Scenario:
    """Return what one pass makes of a scenario."""
    judge = Judge(interesting, 1000)
    assert judge(start)
    reducer = Reducer(start, judge)
    simplify(reducer)
    return reducer.best


def lines(scenario: Scenario) -> list[str]:
    """Return the records as text."""
    return [render_record(record) for record in scenario.records]


def among(*stories: Scenario) -> Callable[[Scenario], bool]:
    """The predicate that accepts these scenarios and no others."""
    return lambda scenario: scenario in stories


def contains(*wanted: str) -> Callable[[Scenario], bool]:
    """The predicate that accepts every scenario with these records, in any order."""
    return lambda scenario: set(wanted) <= set(lines(scenario))


LOCAL_MINIMA = {
    "issued-early": "no pass turns an INVLPGB that was carried out (evict both) into one that found nothing cached",
    "nested-level-lost": "an input of six ends one record above the shortest, with a page more",
}
"""Faults of which some inputs end above the shortest counterexample or in a third form, and why."""


def but_for_local_minima(names: list[str]) -> list[ParameterSet]:
    """Parameters of a test that holds for each fault, expected to fail for those of LOCAL_MINIMA.

    Not strictly, because which inputs fail follows from the corpus: they are mutants of its stories.
    """
    return [
        pytest.param(
            name,
            id=name,
            marks=[pytest.mark.xfail(reason=LOCAL_MINIMA[name], strict=False)]
            if name in LOCAL_MINIMA
            else [],
        )
        for name in names
    ]
