"""Scenarios for property tests: drawn word by word, which shrinks well, or by the generator, which reaches more."""

import random

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from shootdown.fuzz.engines.strategies import scenarios
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.run.lockstep import in_lockstep
from shootdown.scenario import Scenario


def examples(share: float) -> settings:
    """Return settings with that many times the examples of other property tests, in whatever profile has
    been loaded.
    """
    return settings(max_examples=round(share * settings().max_examples))


def searching(most: int) -> settings:
    """Return the settings of a search for one example by a test: the same in every run, and at full length."""
    return settings(
        max_examples=most,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def weighted(records: int = 32) -> st.SearchStrategy[Scenario]:
    """Return scenarios of that many records from the generator of the random engine."""
    return st.integers(0, 2**32).map(lambda seed: random_scenario(random.Random(seed), records))


def any_scenario(records: int = 32) -> st.SearchStrategy[Scenario]:
    """Return scenarios of both kinds."""
    return weighted(records) | scenarios(records)


def any_lockstep(records: int = 32) -> st.SearchStrategy[Scenario]:
    """Return scenarios in which every operation runs to completion."""
    return any_scenario(records).map(in_lockstep)
