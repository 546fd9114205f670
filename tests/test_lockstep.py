"""Lockstep: without interleaved accesses a policy and the reference show exactly the same."""

from dataclasses import replace

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized.elsewhere import ELSEWHERE
from shootdown.optimized.policies import REGISTRY, RULES
from shootdown.optimized.strategy import GatherFlush
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import execute
from shootdown.run.lockstep import (
    ACCERR,
    ACCESS,
    MAPERR,
    USERFAULTFD,
    compare,
    in_lockstep,
    outcomes,
)
from shootdown.scenario import Scenario, kinds, parse
from shootdown.scenario.verdict import LEGAL
from tests.strategies import any_scenario, searching

# A munmap that postpones its flush has to know when its addresses are used again; until its promise holds, an access
# may show a page that the reference has no more.
AT_ONCE = [
    policy
    for policy in (*RULES, *ELSEWHERE)
    if not policy.fault and policy.strategy.addresses_reused is GatherFlush.addresses_reused
]
SOUND = [policy.name for policy in AT_ONCE if policy.handler is FaultHandler.LINUX]
SOUND_WITH_EXEC_CHECK = [
    policy.name for policy in AT_ONCE if policy.handler is FaultHandler.EXEC_CHECK
]
SHALLOW = ["v1", "drop-last-page", "skip-write-protect", "report-healed-fault", "free-before-flush"]
"""Faults that show without any interleaving."""

STORY = """
shootdown-scenario 1
cpus 2
pages 2
layout private

cpu0 write p0
cpu1 read p0
cpu0 mprotect p0 r until flush
cpu1 write p0
cpu0 run
cpu0 uffd_register p1
cpu0 write p1
cpu0 uffd_wp p1
cpu1 write p1
cpu0 munmap p0
cpu1 read p0
"""


def story(text: str = STORY) -> Scenario:
    """Return the scenario that a text describes."""
    return parse(text.lstrip()).scenario


def reference_of(policy: str) -> EagerFlush:
    """Return the reference under the page-fault handler of a policy."""
    reference = EagerFlush()
    reference.handler = REGISTRY[policy].handler
    return reference


@pytest.mark.parametrize("policy", SOUND + SOUND_WITH_EXEC_CHECK)
@given(scenario=any_scenario())
def test_a_sound_policy_shows_what_the_reference_shows(policy: str, scenario: Scenario) -> None:
    """With every operation run to completion the outcomes are equal: values, signals and events, in their order."""
    assert compare(scenario, reference_of(policy), REGISTRY[policy].make()) is None


@given(any_scenario(), st.sampled_from(SOUND), st.sampled_from(SOUND))
def test_two_sound_policies_show_the_same(scenario: Scenario, one: str, other: str) -> None:
    """Policies with the same handler agree among each other as they agree with the reference."""
    assert compare(scenario, REGISTRY[one].make(), REGISTRY[other].make()) is None


def test_the_handlers_differ_in_what_a_denied_fetch_leaves() -> None:
    """Linux populates the page, so it can be write-protected and its next store is an event; exec-check does not."""
    scenario = story(
        "shootdown-scenario 1\ncpus 1\npages 8\nlayout private\n\n"
        "cpu0 uffd_register p0-p7\ncpu0 exec p4\ncpu0 uffd_wp p4\ncpu0 write p4\n"
    )

    assert outcomes(scenario, reference_of("linux")) == [
        (ACCERR, 0, 4, 4, 0),
        (USERFAULTFD, 0, 4, 2, 0),
    ]
    assert outcomes(scenario, reference_of("minimal-exec-check")) == [
        (ACCERR, 0, 4, 4, 0),
        (ACCESS, 0, 4, 2, 1),
    ]


def test_the_minimal_rule_of_the_unmerged_handler_breaks_c2_under_linux() -> None:
    """After a read page becomes executable, the fetch ends in SIGSEGV; each minimal rule is right under its own
    handler.
    """
    scenario = story(
        "shootdown-scenario 1\ncpus 1\npages 1\nlayout private\n\n"
        "cpu0 read p0\ncpu0 mprotect p0 rx\ncpu0 exec p0\n"
    )
    policy = REGISTRY["minimal-exec-check"]
    outcome = execute(scenario, replace(policy, handler=FaultHandler.LINUX).make())

    assert (outcome.rule, outcome.reason) == ("C2", "denied-though-allowed")
    assert execute(scenario, policy.make()).verdict == LEGAL
    assert execute(scenario, REGISTRY["minimal"].make()).verdict == LEGAL


@pytest.mark.parametrize("policy", SHALLOW)
def test_a_shallow_fault_differs(policy: str) -> None:
    """Lockstep alone finds a fault that needs no interleaving."""
    fault = REGISTRY[policy].make()

    found = find(
        any_scenario(),
        lambda s: compare(s, EagerFlush(), fault) is not None,
        settings=searching(5000),
    )
    assert compare(found, EagerFlush(), REGISTRY["always"].make()) is None


@given(any_scenario())
def test_every_operation_is_run_to_completion(scenario: Scenario) -> None:
    """The lockstep form has the same header and the same operations in order, without pauses and `run` records."""
    locked = in_lockstep(scenario)

    assert locked.header == scenario.header
    assert [(k, c, *rest) for k, c, _, *rest in locked.records] == [
        (k, c, *rest) for k, c, _, *rest in scenario.records if k != kinds.RUN
    ]
    assert all(run == 0 for _, _, run, *_ in locked.records)
    assert in_lockstep(locked) == locked


def test_outcomes_are_listed_in_order() -> None:
    """Loads and stores with their values, signals with their codes, and events of userfaultfd."""
    assert outcomes(story(), EagerFlush()) == [
        (ACCESS, 0, 0, 2, 1),
        (ACCESS, 1, 0, 1, 1),
        (ACCERR, 1, 0, 2, 0),
        (ACCESS, 0, 1, 2, 2),
        (USERFAULTFD, 1, 1, 2, 0),
        (MAPERR, 1, 0, 1, 0),
    ]


def test_the_first_difference_is_given() -> None:
    """A difference names its position and both outcomes: here a store that mprotect should have denied."""
    difference = compare(story(), EagerFlush(), REGISTRY["skip-write-protect"].make())

    assert difference == (2, (ACCERR, 1, 0, 2, 0), (ACCESS, 1, 0, 2, 2))


def test_a_verdict_is_an_outcome_too() -> None:
    """A run that is illegal without showing the program anything differs by its reason, after all outcomes."""
    text = "shootdown-scenario 1\ncpus 2\npages 1\nlayout private\nbatch 2\n\n"
    text += "cpu0 write p0\ncpu1 read p0\ncpu0 munmap p0\n"
    difference = compare(story(text), EagerFlush(), REGISTRY["free-before-flush"].make())

    assert difference is not None
    assert difference.position == 2
    assert difference.left is None
    assert difference.right is not None
    assert difference.right[0] == "freed-frame-still-cached"
