"""The way from the path of a proof to a finding."""

from shootdown.evidence.investigate import Found, Investigation
from shootdown.optimized.policy import Policy
from shootdown.prove.counterexample import scenario_of, without_idle_hardware
from shootdown.prove.scope import Scope
from shootdown.run.execute import execute
from shootdown.scenario import Scenario, encode


def investigated(path: bytes, scope: Scope, policy: Policy) -> tuple[Scenario, Found]:
    """Return the scenario as the search met it, which has the fewest operations, and the finding that it becomes.

    Errors: NotReproducible when the scenario does not show the same again.
    """
    strategy = policy.make()
    met = without_idle_hardware(scenario_of(path, scope, strategy), strategy)
    return met, Investigation(policy).investigate(encode(met), execute(met, strategy))
