"""What a worker does with a failure: count it, and for the first of its kind minimize, run again and explain it."""

from collections import Counter
from collections.abc import Callable

from fuzz.campaign.messages import Broken, Found, Interesting, Message
from fuzz.evidence.explain import explain
from fuzz.evidence.report import evidence
from fuzz.evidence.skip import guilty_skip
from fuzz.execute import Outcome, execute
from fuzz.minimize import NotInteresting, minimize
from fuzz.scenario import Scenario, decode, encode, render
from fuzz.store import Minimum
from fuzz.verdict import ILLEGAL
from machine.x86 import Machine
from optimized.policy import Policy

RERUNS = 3
"""Runs, over the one that showed it, in which a finding must show the same again."""

Showing = tuple[str, str, str, int, tuple[int, ...]]


class CannotGoOn(Exception):
    """The worker must end; the message says why."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(broken.sentence)
        self.broken = broken


class Triage:
    """Receives a session's reports and sends what is worth knowing.

    Of each kind of failure (rule, reason, guilty skip) the 1st, 2nd, 4th, 8th, ... is minimized, and all are counted: a
    frequent bug costs little, and a second bug behind the same words still has its chance.
    `beat` is called between two runs, so that the parent hears of a worker that minimizes for long.
    """

    def __init__(
        self,
        policy: Policy,
        send: Callable[[Message], None],
        beat: Callable[[], object],
        machine_type: type[Machine] = Machine,
    ) -> None:
        self.policy = policy
        self.machine_type = machine_type
        self.send = send
        self.beat = beat
        self.failures = 0
        self.execution: Callable[[], int] = lambda: 0
        self.again: Counter[str] = Counter()
        self._kinds: Counter[tuple[str, str, str]] = Counter()
        self._finding_of: dict[tuple[str, str, str], str] = {}
        self._sent: set[str] = set()

    def interesting(self, data: bytes) -> None:
        """Pass an input with a new feature on, for the stored corpus."""
        self.send(Interesting(data))

    def failure(self, data: bytes, outcome: Outcome) -> None:
        """Count a failure, and send it as a finding if it is the first, second, fourth, ... of its kind.

        Error: CannotGoOn when it does not show the same again.
        """
        self.failures += 1
        kind = (outcome.rule, outcome.reason, guilty_skip(outcome))
        self._kinds[kind] += 1
        count = self._kinds[kind]
        if count & (count - 1):
            self.again[self._finding_of[kind]] += 1
            return
        found = self.investigate(data, outcome)
        key = found.minimum.key
        self._finding_of[kind] = key
        if key in self._sent:
            self.again[key] += 1
        else:
            self._sent.add(key)
            self.send(found)

    def investigate(self, data: bytes, outcome: Outcome) -> Found:
        """Return the finding behind a failure. Error: CannotGoOn when it does not show the same again."""
        scenario = decode(data)
        execution = self.execution()
        self._reproduce(scenario, showing(outcome), 1)
        wanted = (outcome.rule, outcome.reason)

        def interesting(candidate: Scenario) -> bool:
            self.beat()
            shown = self._execute(candidate)
            return shown.verdict == ILLEGAL and (shown.rule, shown.reason) == wanted

        try:
            smaller = minimize(scenario, interesting)
        except NotInteresting:
            again = showing(self._execute(scenario))
            raise self._not_reproducible(scenario, showing(outcome), again) from None
        minimal = smaller.scenario
        last = self._execute(minimal)
        if (last.rule, last.reason) != wanted:
            raise self._not_reproducible(minimal, showing(outcome), showing(last))
        self._reproduce(minimal, showing(last), RERUNS)
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

    def _execute(self, scenario: Scenario) -> Outcome:
        return execute(scenario, self.policy.make(), machine_type=self.machine_type)

    def _reproduce(self, scenario: Scenario, expected: Showing, times: int) -> None:
        for _ in range(times):
            self.beat()
            again = showing(self._execute(scenario))
            if again != expected:
                raise self._not_reproducible(scenario, expected, again)

    def _not_reproducible(
        self, scenario: Scenario, expected: Showing, again: Showing
    ) -> CannotGoOn:
        return CannotGoOn(
            Broken(
                "not-reproducible",
                f"One scenario showed two things under {self.policy.name}: {_words(expected)}, and run again"
                f" {_words(again)}. A policy must be a pure function of what it is asked.",
                render(scenario),
            )
        )


def showing(outcome: Outcome) -> Showing:
    """Return all that must be the same whenever a scenario is run."""
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
