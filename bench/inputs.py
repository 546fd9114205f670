"""Failing inputs of a seeded fault, different from each other and found fast, and what they are minimized to."""

from random import Random

from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.fuzz.inputs.mutate import crossover, mutate
from shootdown.minimize import Minimized, minimize
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Header, Scenario, corpus, decode, encode, kinds

RECORDS = 32
TRIES = 200_000


def failing_inputs(name: str, wanted: int, seed: int) -> list[Scenario]:
    """Return up to `wanted` different scenarios of RECORDS records that break the rule which the fault names.

    In turn: generated, a mutant of any corpus scenario, a mutant of one that shows the fault. Without the last,
    dec-before-flush takes 10,000 executions for each input; without the others, all inputs are of one descent.
    """
    policy = REGISTRY[name]
    rule = policy.fault.rule if policy.fault else ""
    strategy, rng = policy.make(), Random(seed)
    stories = [encode(parsed.scenario) for parsed in corpus.load().values()]
    guilty = [data for data in stories if execute(decode(data), strategy).rule == rule] or stories
    found: dict[bytes, Scenario] = {}
    for turn in range(TRIES):
        scenario = random_scenario(rng, RECORDS)
        if turn % 3:
            story = rng.choice(stories if turn % 3 == 1 else guilty)
            data = crossover(rng, encode(scenario), story, RECORDS)
            scenario = decode(mutate(rng, data, RECORDS))
        if len(scenario.records) == RECORDS and execute(scenario, strategy).rule == rule:
            found[encode(scenario)] = scenario
            if len(found) == wanted:
                break
    return list(found.values())


def minimized(name: str, scenario: Scenario, budget: int) -> tuple[str, Minimized]:
    """Return the reason for which a scenario fails, and what it is minimized to under that reason."""
    strategy = REGISTRY[name].make()
    reason = execute(scenario, strategy).reason
    return reason, minimize(
        scenario, lambda each: execute(each, strategy).reason == reason, budget=budget
    )


def other_headers(name: str, scenario: Scenario) -> list[Scenario]:
    """Return the scenario in each other layout, and each other machine, number of identifiers and batch, in which it
    still fails for its reason.
    """
    strategy = REGISTRY[name].make()
    header, records = scenario
    reason = execute(scenario, strategy).reason
    headers: set[Header] = set()
    headers |= {header._replace(layout=layout) for layout in range(len(kinds.LAYOUTS))}
    headers |= {header._replace(machine=machine) for machine in range(kinds.NO_DIRTY_REWALK)}
    headers |= {header._replace(asids=asids) for asids in range(1, kinds.MAX_ASIDS + 1)}
    headers |= {header._replace(batch=batch) for batch in range(1, kinds.MAX_BATCH + 1)}
    variants = [Scenario(each, records) for each in sorted(headers - {header})]
    return [each for each in variants if execute(each, strategy).reason == reason]
