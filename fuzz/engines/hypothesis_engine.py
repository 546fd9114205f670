"""Hypothesis as an engine: its strategies draw the same scenarios; good for small scopes, slow for campaigns."""

from hypothesis import HealthCheck, Phase, given, seed, settings

from shootdown.fuzz.engines.session import Session
from shootdown.fuzz.engines.strategies import scenarios
from shootdown.scenario import Scenario, encode

ROUND = 1000
"""Examples of one Hypothesis run; the next round draws with another seed."""


def fuzz_hypothesis(session: Session) -> None:
    """Draw scenarios until the session is finished; the seed corpus runs first.

    A failure is reported, as every engine does, and not raised. So Hypothesis never shrinks: this tool's own minimizer
    does, and needs a hundredth of the time.
    """
    for data in session.corpus:
        session.run(data)

    @settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(scenarios(session.records, session.pauses))
    def draw(scenario: Scenario) -> None:
        session.run_scenario(scenario, encode(scenario))

    turn = 0
    while True:
        seed(session.seed * 1_000_003 + turn)(draw)()
        turn += 1
