"""Failing inputs of a seeded fault or a mutant, all different, and the forms to which they are minimized."""

from random import Random

from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.fuzz.inputs.mutate import crossover, mutate
from shootdown.minimize import Minimized, minimize
from shootdown.mm.world import FlushStrategy
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Header, Scenario, corpus, decode, encode, kinds
from shootdown.scenario.switches import DRAWN

RECORDS = 32
TRIES = 200_000
MUTANT_TRIES = 3000


def failing_inputs(name: str, wanted: int, seed: int) -> list[Scenario]:
    """Return up to `wanted` different scenarios of RECORDS records that break the rule of the fault.

    The sources take turns: generated scenarios, mutants of any corpus scenario, mutants of a scenario that shows the
    fault. Without the last, dec-before-flush takes 10,000 executions for each input; without the others, all inputs
    have one origin.
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


def inputs_like(strategy: FlushStrategy, guilty: bytes, wanted: int, seed: int) -> list[Scenario]:
    """Return a scenario and up to `wanted` - 1 different ones of RECORDS records that fail for the same reason.

    They come in turn from the generator, and from mutants of the scenario crossed with generated ones. There are fewer
    if MUTANT_TRIES do not show as many.
    """
    rng, reason = Random(seed), reason_of(strategy, decode(guilty))
    found: dict[bytes, Scenario] = {guilty: decode(guilty)}
    for turn in range(MUTANT_TRIES):
        if len(found) >= wanted:
            break
        scenario = random_scenario(rng, RECORDS)
        if turn % 2:
            data = crossover(rng, encode(scenario), guilty, RECORDS)
            scenario = decode(mutate(rng, data, RECORDS))
        if len(scenario.records) == RECORDS and reason_of(strategy, scenario) == reason:
            found[encode(scenario)] = scenario
    return list(found.values())


def reason_of(strategy: FlushStrategy, scenario: Scenario) -> str:
    """Return why a scenario fails, or the kind of exception if the models raise one, which only mutants of them do."""
    try:
        return execute(scenario, strategy).reason
    except Exception as error:  # noqa: BLE001 - whatever a mutant raises is what it shows
        return type(error).__name__


def minimized(name: str, scenario: Scenario, budget: int) -> tuple[str, Minimized]:
    """Return the reason why a scenario fails under a fault, and the form to which it is minimized under that reason."""
    return minimized_under(REGISTRY[name].make(), scenario, budget)


def minimized_under(
    strategy: FlushStrategy, scenario: Scenario, budget: int
) -> tuple[str, Minimized]:
    """Return the reason why a scenario fails, and the form to which it is minimized under that reason."""
    reason = reason_of(strategy, scenario)
    return reason, minimize(
        scenario,
        lambda each: reason_of(strategy, each) == reason,
        budget=budget,
        points=strategy.points(),
    )


def other_headers(name: str, scenario: Scenario) -> list[Scenario]:
    """Return the scenario with each other layout, and each other machine, number of identifiers and batch, with which
    it still fails for its reason.
    """
    strategy = REGISTRY[name].make()
    header, records = scenario
    reason = execute(scenario, strategy).reason
    headers: set[Header] = set()
    headers |= {header._replace(layout=layout) for layout in range(len(kinds.LAYOUTS))}
    headers |= {header._replace(machine=machine) for machine in (0, *DRAWN)}
    headers |= {header._replace(asids=asids) for asids in range(1, kinds.MAX_ASIDS + 1)}
    headers |= {header._replace(batch=batch) for batch in range(1, kinds.MAX_BATCH + 1)}
    variants = [Scenario(each, records) for each in sorted(headers - {header})]
    return [each for each in variants if execute(each, strategy).reason == reason]
