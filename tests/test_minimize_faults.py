"""The minimizer on the real models: its results for failing inputs of each seeded fault."""

from collections import Counter
from functools import cache

import pytest

from bench.inputs import failing_inputs, minimized, other_headers
from shootdown.minimize import Minimized, length
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Scenario, corpus, render
from tests.reducing import LONGER, MORE_FORMS, lacking_some

INPUTS = 6
"""Inputs for each fault; `python -m bench.minima` does the same with 30."""
BUDGET = 400
SHORT = 6
FAULTS = [name for name, policy in REGISTRY.items() if policy.fault]


@cache
def results(name: str) -> list[tuple[str, Minimized]]:
    """Return the minima of different failing inputs of a fault, with their reasons."""
    return [minimized(name, scenario, BUDGET) for scenario in failing_inputs(name, INPUTS, 1)]


def told(name: str) -> str:
    """Return the reason for which the shortest story of a fault fails under it, by the rule that the fault names."""
    fault = REGISTRY[name].fault
    stories = [
        (length(parsed.scenario), each.reason)
        for parsed in corpus.load().values()
        for each in parsed.expectations
        if fault and (each.policy, each.rule) == (name, fault.rule)
    ]
    return min(stories)[1]


@pytest.mark.parametrize("name", lacking_some(FAULTS, LONGER, str))
def test_minimum_keeps_its_reason_and_is_a_shortest(name: str) -> None:
    """Within 400 runs a failing input of 32 records becomes one that fails for the same reason, with the shortest
    length.

    The shortest length is that of the shortest counterexample of the search. Inputs that fail for a reason other than
    that of the shortest story end in one length, which may be different: the shortest length belongs to a rule, and its
    other reasons may need more (if copy-before-flush loses a store through a clean entry, which is no danger to the
    copy by itself, 7 instead of 2).
    """
    fault = REGISTRY[name].fault
    assert fault
    assert len(results(name)) == INPUTS
    least = {reason: length(small.scenario) for reason, small in results(name)}
    least[told(name)] = fault.shortest
    for reason, (small, runs, _) in results(name):
        assert execute(small, REGISTRY[name].make()).reason == reason
        assert runs <= BUDGET
        assert length(small) == least[reason] >= fault.shortest, render(small)


@pytest.mark.parametrize("name", lacking_some(FAULTS, MORE_FORMS, str))
def test_two_forms_at_most(name: str) -> None:
    """The inputs of a fault have at most two forms for each reason; short ones have one.

    In a longer one, two changes may be needed at once to get from one form to the other: giving the work of one CPU to
    another, and doing it later.
    """
    forms = {(reason, result.scenario) for reason, result in results(name)}
    short = [reason for reason, form in forms if length(form) <= SHORT]

    assert max(Counter(reason for reason, _ in forms).values()) <= 2
    assert len(short) == len(set(short))


@pytest.mark.parametrize("name", FAULTS)
def test_no_record_of_a_minimum_can_be_dropped(name: str) -> None:
    """Without any one of its records a minimum no longer fails for its reason."""
    strategy = REGISTRY[name].make()
    for reason, (small, _, _) in results(name):
        for i in range(len(small.records)):
            rest = Scenario(small.header, small.records[:i] + small.records[i + 1 :])

            assert execute(rest, strategy).reason != reason, render(small)


@pytest.mark.parametrize("name", FAULTS)
def test_header_of_the_input_makes_no_difference(name: str) -> None:
    """The same records in another layout or on another machine end in the same form."""
    scenario = failing_inputs(name, 1, 1)[0]
    reason, result = results(name)[0]
    for other in other_headers(name, scenario)[:4]:
        same_reason, same = minimized(name, other, BUDGET)

        assert (same_reason, same.scenario) == (reason, result.scenario)


def test_promotion_of_nx_needs_three_operations() -> None:
    """The SIGSEGV of the posted series needs a fill, an mprotect to executable and a fetch."""
    reason, (small, _, _) = results("v1")[0]

    assert reason == "denied-though-allowed"
    assert render(small).splitlines()[-3:] == [
        "cpu0 read p0",
        "cpu0 mprotect p0 rx",
        "cpu0 exec p0",
    ]
