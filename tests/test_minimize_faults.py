"""The minimizer on the real models: what it makes of failing inputs of each seeded fault."""

from random import Random

import pytest

from fuzz.execute import execute
from fuzz.minimize import minimize
from fuzz.scenario import Scenario, corpus, decode, encode, render
from fuzz.scenario.generate import random_scenario
from fuzz.scenario.mutate import crossover, mutate
from mm.flush import FlushStrategy
from optimized.policies import REGISTRY

INPUTS = 4
BUDGET = 300
LONGEST = {"partial-by-local": 9}
"""The two flushes of partial-by-local must overlap on three CPUs; every other minimum has at most 6 records."""

FAULTS = [name for name, policy in REGISTRY.items() if policy.fault]


def failing_inputs(name: str) -> list[Scenario]:
    """Different scenarios of 32 records that break the rule which the fault names: its own story among noise."""
    policy = REGISTRY[name]
    assert policy.fault is not None
    strategy, rng = policy.make(), Random(1)
    stories = [
        encode(parsed.scenario)
        for parsed in corpus.load().values()
        if execute(parsed.scenario, strategy).rule == policy.fault.rule
    ]
    found: list[Scenario] = []
    while len(found) < INPUTS:
        noise = encode(random_scenario(rng, 32))
        data = mutate(rng, crossover(rng, noise, rng.choice(stories), 32), 32)
        if execute(decode(data), strategy).rule == policy.fault.rule:
            found.append(decode(data))
    return found


def minimum(scenario: Scenario, strategy: FlushStrategy) -> tuple[Scenario, str, int]:
    """The minimum of a failing scenario, its reason, and the runs that it took."""
    reason = execute(scenario, strategy).reason
    result = minimize(scenario, lambda s: execute(s, strategy).reason == reason, budget=BUDGET)
    return result.scenario, reason, result.runs


@pytest.mark.parametrize("name", FAULTS)
def test_minimum_keeps_its_reason_and_is_short(name: str) -> None:
    """Within 300 runs a failing input of 32 records becomes a handful of records that fails for the same reason."""
    strategy = REGISTRY[name].make()
    for scenario in failing_inputs(name):
        small, reason, runs = minimum(scenario, strategy)

        assert execute(small, strategy).reason == reason
        assert runs <= BUDGET
        assert len(small.records) <= LONGEST.get(name, 6), render(small)


@pytest.mark.parametrize("name", FAULTS)
def test_no_record_of_a_minimum_can_be_dropped(name: str) -> None:
    """Without any one of its records a minimum no longer fails for its reason."""
    strategy = REGISTRY[name].make()
    small, reason, _ = minimum(failing_inputs(name)[0], strategy)
    for i in range(len(small.records)):
        rest = Scenario(small.header, small.records[:i] + small.records[i + 1 :])

        assert execute(rest, strategy).reason != reason, render(small)


def test_promotion_of_nx_needs_three_operations() -> None:
    """The SIGSEGV of the posted series: fill, mprotect to executable, fetch."""
    strategy = REGISTRY["v1"].make()
    small, reason, _ = minimum(failing_inputs("v1")[0], strategy)

    assert reason == "denied-though-allowed"
    assert render(small).splitlines()[-3:] == [
        "cpu0 read p0",
        "cpu0 mprotect p0 rx",
        "cpu0 exec p0",
    ]
