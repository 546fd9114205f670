"""The minimizer on the real models: different inputs of one fault meet in one form, or in two."""

import random
from collections.abc import Callable, Iterator

import pytest

from shootdown.fuzz.inputs.generate import random_record
from shootdown.minimize import length, minimize
from shootdown.mm.step import points_of_models
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Scenario, corpus, decode, encode
from tests.reducing import MORE_FORMS, lacking_some

INPUTS = 5
"""Inputs for each story; with 30 the result is the same and takes two minutes."""
MANY = 12
"""Inputs for a story whose inputs end in too many forms: one in ten ends in the third."""
RECORDS = 32

Shown = tuple[str, str, str]
"""A policy with a seeded fault, and the rule and the reason that it is caught by."""


def stories() -> dict[Shown, list[Scenario]]:
    """Return the corpus scenarios that expect a seeded fault to be caught, by what they show."""
    found: dict[Shown, list[Scenario]] = {}
    for parsed in corpus.load().values():
        for expected in parsed.expectations:
            if expected.rule and REGISTRY[expected.policy].fault:
                shown = (expected.policy, expected.rule, expected.reason)
                found.setdefault(shown, []).append(parsed.scenario)
    return found


STORIES = stories()


def shows(policy: str, rule: str, reason: str) -> Callable[[Scenario], bool]:
    """Return the predicate of a campaign: the policy breaks this rule for this reason."""
    strategy = REGISTRY[policy].make()

    def interesting(scenario: Scenario) -> bool:
        outcome = execute(scenario, strategy)
        return (outcome.rule, outcome.reason) == (rule, reason)

    return interesting


def noisy(story: Scenario, interesting: Callable[[Scenario], bool], seed: str) -> Scenario:
    """Return the story among random records that do not hide what it shows, 32 in all or nearly so."""
    draw = random.Random(seed)
    records = encode(story)
    for _ in range(10 * RECORDS):
        at = 4 * draw.randint(1, len(records) // 4)
        more = records[:at] + random_record(draw) + records[at:]
        if len(more) <= 4 * (RECORDS + 1) and interesting(decode(more)):
            records = more
    return decode(records)


def inputs(shown: Shown) -> Iterator[Scenario]:
    """Return different inputs that show one fault: each of its stories in turn, hidden in noise."""
    for at in range(MANY if shown[0] in MORE_FORMS else INPUTS):
        story = STORIES[shown][at % len(STORIES[shown])]
        yield noisy(story, shows(*shown), f"{shown} {at}")


@pytest.mark.parametrize(
    "shown", lacking_some(STORIES, MORE_FORMS, lambda shown: shown[0]), ids="-".join
)
def test_inputs_of_one_fault_meet(shown: Shown) -> None:
    """Inputs with one policy, rule and reason have at most 2 canonical forms.

    Each form takes at most 400 runs, shows the same, and is as short as the stories that people wrote.
    """
    results = [minimize(each, shows(*shown), points=points_of_models()) for each in inputs(shown)]
    forms = {result.scenario for result in results}

    assert len(forms) <= 2
    assert all(result.runs <= 400 for result in results)
    assert all(map(shows(*shown), forms))
    assert min(map(length, forms)) <= min(map(length, STORIES[shown]))
