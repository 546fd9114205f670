"""From a failing input to a finding: shown again, minimized, explained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from shootdown.evidence.explain import explain
from shootdown.evidence.report import evidence
from shootdown.machine.x86 import Machine
from shootdown.minimize import NotInteresting, minimize
from shootdown.optimized.policy import Policy
from shootdown.run.execute import Outcome, execute
from shootdown.scenario import Scenario, decode, encode, render
from shootdown.scenario.verdict import LEGAL
from shootdown.store import Evidence, Minimum

RERUNS = 3
"""How many further runs of a finding must show the same again."""

Showing: TypeAlias = tuple[str, str, str, int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Found:
    """A failure, minimized and reproduced.

    `original`: the input; against a base, up to the record that broke the rule.
    `execution`: its number in the campaign.
    `runs`: how many runs the minimizer made.
    `complete`: false when the minimizer ran out of its budget.
    """

    minimum: Minimum
    evidence: Evidence
    original: bytes
    execution: int
    runs: int
    complete: bool


class NotReproducible(Exception):
    """One scenario showed two different things: the message says which; `text` is the scenario."""

    def __init__(self, sentence: str, text: str) -> None:
        super().__init__(sentence)
        self.text = text


class Investigation:
    """Makes findings from the failures of one policy; `beat` is called between two runs, of which there are
    hundreds.

    `base`: a policy under which a finding must be legal, and so must each step of its minimization.
    """

    def __init__(
        self,
        policy: Policy,
        beat: Callable[[], object] = lambda: None,
        machine_type: type[Machine] = Machine,
        base: Policy | None = None,
    ) -> None:
        self.policy = policy
        self.base = base
        self.beat = beat
        self.machine_type = machine_type

    def investigate(self, data: bytes, outcome: Outcome, execution: int = 0) -> Found:
        """Return the finding of a failure, which the base allows if there is one.

        Errors: NotReproducible.
        """
        scenario = decode(data)
        self._reproduce(scenario, showing(outcome), 1)
        self._allowed(scenario, 1)
        wanted = (outcome.rule, outcome.reason)

        def interesting(candidate: Scenario) -> bool:
            self.beat()
            shown = self._execute(candidate, self.policy)
            if (shown.rule, shown.reason) != wanted:
                return False
            return self.base is None or self._execute(candidate, self.base).verdict == LEGAL

        try:
            smaller = minimize(scenario, interesting, points=self.policy.make().points())
        except NotInteresting:
            self._allowed(scenario, 1)
            again = showing(self._execute(scenario, self.policy))
            raise _not_reproducible(
                scenario, self.policy, _words(showing(outcome)), again
            ) from None
        minimal = smaller.scenario
        last = self._execute(minimal, self.policy)
        if (last.rule, last.reason) != wanted:
            raise _not_reproducible(minimal, self.policy, _words(showing(outcome)), showing(last))
        self._reproduce(minimal, showing(last), RERUNS)
        self._allowed(minimal, RERUNS)
        told = explain(minimal, self.policy, self.machine_type)
        minimum = Minimum(
            policy=self.policy.name,
            rule=told.rule,
            reason=told.reason,
            skip=told.skip,
            scenario=encode(minimal),
            text=render(minimal),
            operations=len(minimal.records),
            cpus=minimal.header.cpus,
            pages=minimal.header.pages,
        )
        return Found(minimum, evidence(told), data, execution, smaller.runs, smaller.complete)

    def _execute(self, scenario: Scenario, policy: Policy) -> Outcome:
        return execute(scenario, policy.make(), machine_type=self.machine_type)

    def _reproduce(self, scenario: Scenario, expected: Showing, times: int) -> None:
        for _ in range(times):
            self.beat()
            again = showing(self._execute(scenario, self.policy))
            if again != expected:
                raise _not_reproducible(scenario, self.policy, _words(expected), again)

    def _allowed(self, scenario: Scenario, times: int) -> None:
        if self.base is None:
            return
        for _ in range(times):
            self.beat()
            again = showing(self._execute(scenario, self.base))
            if again[0] != LEGAL:
                raise _not_reproducible(scenario, self.base, LEGAL, again)


def _not_reproducible(
    scenario: Scenario, policy: Policy, before: str, again: Showing
) -> NotReproducible:
    return NotReproducible(
        f"One scenario showed two things under {policy.name}: {before}, and run again"
        f" {_words(again)}. A policy must be a pure function of what it is asked.",
        render(scenario),
    )


def showing(outcome: Outcome) -> Showing:
    """Return everything that must be the same whenever a scenario runs."""
    return (
        outcome.verdict,
        outcome.rule,
        outcome.reason,
        outcome.steps,
        tuple(outcome.costs),
    )


def _words(shown: Showing) -> str:
    verdict, rule, reason, steps, _ = shown
    return f"{' '.join(filter(None, (verdict, rule, reason)))} after {steps} steps"
