"""What `minimize` promises for every scenario and every predicate."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.minimize import NotInteresting, minimize, simplicity_key
from shootdown.minimize.reducer import Interesting
from shootdown.scenario import Header, Scenario, decode, encode
from tests.strategies import any_scenario
from tests.toy_models import FAULTS, run_toy, story

ENOUGH = 20_000
"""Within so many runs every minimization of a scenario of 12 records ends, for any predicate."""


@st.composite
def problems(draw: st.DrawFn) -> tuple[Scenario, Interesting]:
    """Return a scenario with a predicate that accepts it: one that means something, or one that is arbitrary."""
    start = draw(any_scenario(12))
    faults = tuple(sorted(FAULTS))
    shown = run_toy(start, *faults)
    if shown:
        return start, lambda scenario: run_toy(scenario, *faults) == shown
    salt, share = draw(st.binary(max_size=2)), draw(st.integers(1, 255))
    return start, lambda scenario: scenario == start or _hash(scenario, salt) < share


def _hash(scenario: Scenario, salt: bytes) -> int:
    return hashlib.sha256(salt + encode(scenario)).digest()[0]


@given(problems(), st.integers(1, 400))
def test_result_keeps_all_promises(problem: tuple[Scenario, Interesting], budget: int) -> None:
    """The result is interesting, canonical and no less simple; runs are counted and within budget."""
    start, interesting = problem
    asked: list[Scenario] = []

    def counted(scenario: Scenario) -> bool:
        asked.append(scenario)
        return interesting(scenario)

    result = minimize(start, counted, budget=budget)

    assert interesting(result.scenario)
    assert result.scenario == decode(encode(result.scenario))
    assert simplicity_key(result.scenario) <= simplicity_key(start)
    assert result.runs == len(asked) == len(set(asked)) <= budget
    assert all(scenario == decode(encode(scenario)) for scenario in asked)


@given(problems())
def test_complete_result_minimizes_to_itself(problem: tuple[Scenario, Interesting]) -> None:
    """A budget that is large enough leaves a result that stays as it is."""
    start, interesting = problem
    result = minimize(start, interesting, budget=ENOUGH)
    again = minimize(result.scenario, interesting, budget=ENOUGH)

    assert result.complete
    assert (result.scenario, True) == (again.scenario, again.complete)


@given(problems())
def test_deterministic(problem: tuple[Scenario, Interesting]) -> None:
    """Two minimizations of one scenario are the same in result and in runs."""
    start, interesting = problem

    assert minimize(start, interesting) == minimize(start, interesting)


@given(problems(), st.integers(1, 100))
def test_more_budget_is_never_worse(problem: tuple[Scenario, Interesting], budget: int) -> None:
    """With a larger budget the result is at least as simple."""
    start, interesting = problem
    less = minimize(start, interesting, budget=budget).scenario
    more = minimize(start, interesting, budget=2 * budget).scenario

    assert simplicity_key(more) <= simplicity_key(less)


@given(any_scenario())
def test_everything_interesting_leaves_nothing(start: Scenario) -> None:
    """When every scenario is interesting, the result is empty, on one CPU with one page."""
    assert minimize(start, lambda _: True).scenario == Scenario(Header(1, 1), ())


def test_scenario_without_canonical_form_is_accepted() -> None:
    """A scenario with fields out of range is minimized as the canonical scenario that it encodes to."""
    start = Scenario(Header(1, 1), ((0, 3, 0, 2, 1, 0),))

    assert minimize(start, lambda scenario: bool(scenario.records)).scenario == story(
        "cpu0 read p0", cpus=1, pages=1
    )


def test_uninteresting_scenario_is_refused() -> None:
    """A scenario that the predicate rejects has no minimum."""
    with pytest.raises(NotInteresting):
        minimize(story("cpu0 read p0"), lambda _: False)


def test_no_budget_is_refused() -> None:
    """A budget of 0 does not even allow the first run of the scenario."""
    with pytest.raises(ValueError, match="budget is 0, but the scenario itself takes 1 run"):
        minimize(story("cpu0 read p0"), lambda _: True, budget=0)
