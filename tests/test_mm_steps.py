"""What a step says its arguments are; by this a world is recognized under other names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.kernel.steps import GOES_ON
from shootdown.mm.state import State, Step
from shootdown.mm.step import NAMES, TAKES
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Scenario
from shootdown.scenario.corpus import load
from tests.kernel import Told
from tests.strategies import any_scenario

CORPUS = load()
SMALLEST_ENTRY = 4096


def pushed(scenario: Scenario, policy: str) -> set[Step]:
    """Return every step that was executed or waited on a CPU in a run."""
    steps: set[Step] = set()

    def watch(w: State, _cpu: int, executed: Step) -> None:
        steps.add(executed)
        for stack in w.steps:
            steps.update(stack)

    execute(scenario, REGISTRY[policy].make(), watch=Told(watch))
    return steps


def check(steps: set[Step]) -> None:
    """Assert that the arguments of each step have the number and the kinds with which it was registered."""
    for code, *arguments in steps:
        takes = TAKES[code]
        assert not takes or len(arguments) == len(takes), NAMES[code]
        for i, argument in enumerate(arguments):
            if argument >= SMALLEST_ENTRY:
                assert takes, (NAMES[code], arguments)
                assert takes[i] == "entry", (NAMES[code], arguments)


@pytest.mark.parametrize("name", CORPUS)
def test_arguments_in_the_corpus(name: str) -> None:
    """In every story, under every policy that it names, steps have the arguments that they are registered with."""
    for expected in CORPUS[name].expectations:
        check(pushed(CORPUS[name].scenario, expected.policy))


@given(any_scenario(), st.sampled_from(sorted(REGISTRY)))
def test_arguments_in_any_run(scenario: Scenario, policy: str) -> None:
    """The same in any run under any policy."""
    check(pushed(scenario, policy))


def test_every_named_step_is_in_the_corpus() -> None:
    """The stories contain every step that takes a CPU, a frame, an entry or a generation, but those of a kernel's own
    text, which no story expects anything of.
    """
    met = {
        step[0]
        for parsed in CORPUS.values()
        for expected in parsed.expectations
        for step in pushed(parsed.scenario, expected.policy)
    }

    assert {code for code, takes in enumerate(TAKES) if takes} - {*GOES_ON} <= met
