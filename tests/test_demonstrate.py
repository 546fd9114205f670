"""A stale entry at rest becomes an access that uses it."""

import pytest

from shootdown.fuzz.engines.demonstrate import AT_REST, accesses_after
from shootdown.fuzz.engines.session import Session
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import Outcome, execute
from shootdown.scenario import Scenario, corpus, encode, parse
from shootdown.scenario.kinds import EXEC, READ, WRITE

STALE = {
    "skip-write-protect": "bad_c6_skip_write_protect_at_rest",
    "lose-batch": "bad_c6_lose_batch",
}


def story(policy: str) -> Scenario:
    """Return the corpus scenario that leaves an entry behind under the policy."""
    return corpus.load()[STALE[policy]].scenario


@pytest.mark.parametrize("policy", STALE)
def test_one_of_the_accesses_uses_the_entry(policy: str) -> None:
    """The same run with one access after it breaks a rule about outcomes, by that access."""
    strategy = REGISTRY[policy].make()
    scenario = story(policy)
    outcome = execute(scenario, strategy)
    assert outcome.reason == AT_REST

    after = list(accesses_after(scenario, outcome))
    shown = {execute(each, strategy).reason for each in after}

    assert [each.records[-1][0] for each in after] == [WRITE, READ, EXEC]
    assert all(each.records[: len(scenario.records)] == scenario.records for each in after)
    assert shown & {"stale-grant", "access-to-freed-frame"}


AWAY = """shootdown-scenario 1
cpus 2
pages 1
layout private
asids 2

cpu0 fork
cpu1 write p0
cpu1 switch mm1
cpu0 mprotect p0 r
"""


def test_an_entry_of_another_address_space_is_met_there() -> None:
    """If the CPU has left the space of the entry, it switches back to it."""
    strategy = REGISTRY["skip-write-protect"].make()
    scenario = parse(AWAY).scenario
    outcome = execute(scenario, strategy)
    assert outcome.reason == AT_REST

    shown = [execute(each, strategy).reason for each in accesses_after(scenario, outcome)]

    assert shown[0] == "stale-grant"


def test_other_failures_are_left_alone() -> None:
    """A run that stopped at its failure has no state at rest from which to go on."""
    strategy = REGISTRY["v1"].make()
    scenario = corpus.load()["bad_c2_v1_nx_promotion"].scenario

    assert not list(accesses_after(scenario, execute(scenario, strategy)))


class Reasons:
    """Collects why runs failed."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def failure(self, _data: bytes, outcome: Outcome) -> None:
        """Note the reason."""
        self.seen.append(outcome.reason)

    def interesting(self, _data: bytes) -> None:
        """Do nothing."""


def test_a_session_demonstrates_what_it_finds_at_rest() -> None:
    """One input that leaves an entry behind reports the rule about TLBs and the rule about outcomes."""
    report = Reasons()
    session = Session(
        REGISTRY["skip-write-protect"],
        seed=1,
        records=32,
        corpus=[],
        report=report,
        stop=lambda: False,
    )
    session.run(encode(story("skip-write-protect")))

    assert report.seen[:2] == [AT_REST, "stale-grant"]
    assert session.executions == 4
