"""One pass of the minimizer by itself, and predicates that are easy to state."""

from collections.abc import Callable

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
