"""A scenario of the user, reduced to its canonical minimum."""

from dataclasses import dataclass

from shootdown.evidence.skip import guilty_skip
from shootdown.minimize import minimize
from shootdown.optimized.policy import Policy
from shootdown.run.execute import execute
from shootdown.scenario import Scenario
from shootdown.scenario.verdict import ILLEGAL


@dataclass(frozen=True, slots=True)
class Reduction:
    """The smallest scenario that shows the same rule and reason.

    `complete`: the budget of runs was enough for it.
    """

    scenario: Scenario
    rule: str
    reason: str
    skip: str
    runs: int
    complete: bool


def reduction_of(scenario: Scenario, policy: Policy, budget: int) -> Reduction | None:
    """Return the reduction after at most `budget` runs, or None when the scenario shows nothing illegal."""
    outcome = execute(scenario, policy.make())
    if outcome.verdict != ILLEGAL:
        return None
    wanted = (outcome.rule, outcome.reason)

    def interesting(candidate: Scenario) -> bool:
        shown = execute(candidate, policy.make())
        return (shown.rule, shown.reason) == wanted

    smaller = minimize(scenario, interesting, budget=budget, points=policy.make().points())
    skip = guilty_skip(execute(smaller.scenario, policy.make()))
    return Reduction(smaller.scenario, *wanted, skip, smaller.runs, smaller.complete)
