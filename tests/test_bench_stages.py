"""When a fault is reached and when it makes a difference, as the history bench counts it."""

import pytest

from bench.history import CATALOGUE
from bench.stages import Stages, without_fault
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Scenario, corpus, parse
from shootdown.scenario.verdict import ILLEGAL

CORPUS = corpus.load()
HEAD = "shootdown-scenario 1\ncpus 2\npages 1\nlayout private\n\n"


def stages_of(name: str, *scenarios: Scenario) -> tuple[int, int]:
    """Return the first of the scenarios that reached the fault, and the first that triggered it, from 1 on."""
    stages = Stages(REGISTRY[name])
    strategy = stages.policy.make()
    for number, scenario in enumerate(scenarios, 1):
        stages.executed(number, scenario, execute(scenario, strategy))
    return stages.reached, stages.triggered


def test_a_rule_is_reached_when_it_is_asked_and_triggered_when_its_answer_matters() -> None:
    """An access asks no rule; taking RW away asks it to no effect; taking the right to execute away is the fault."""
    access = parse(HEAD + "cpu0 write p0\n").scenario
    rights = parse(HEAD + "cpu0 write p0\ncpu0 mprotect p0 r\n").scenario
    fetch = CORPUS["bad_c1_nx_set_unflushed"].scenario

    assert stages_of("nx-set-unflushed", access, rights, fetch) == (2, 3)


def test_a_replaced_decision_is_reached_when_it_is_taken() -> None:
    """Every gather asks whether it is nested; only one that is shows the fault."""
    alone = parse(HEAD + "cpu0 write p0\ncpu0 dontneed p0\n").scenario

    assert stages_of("skip-absent", alone, CORPUS["bad_c1_skip_absent_dontneed"].scenario) == (1, 2)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_mended_policy_passes_the_story_of_the_bug(name: str) -> None:
    """Each entry of the catalogue has a story that fails with the bug, triggers it, and is legal without it."""
    policy = REGISTRY[name]
    assert policy.fault
    stories = [
        parsed.scenario
        for parsed in CORPUS.values()
        if any((e.policy, e.rule) == (name, policy.fault.rule) for e in parsed.expectations)
    ]
    assert stories
    for story in stories:
        assert execute(story, without_fault(policy).make()).verdict != ILLEGAL
        assert stages_of(name, story) == (1, 1)
