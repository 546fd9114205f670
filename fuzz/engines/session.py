"""One worker's fuzzing session: engines drive it, and it is the only place where a campaign executes an input."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from shootdown.fuzz.base import Base
from shootdown.fuzz.engines.demonstrate import AT_REST, accesses_after
from shootdown.fuzz.features import failure_feature, observe
from shootdown.fuzz.inputs.draws import Draws
from shootdown.fuzz.inputs.mutate import crossover, mutate, retype, vary
from shootdown.fuzz.inputs.pauses import Pauses
from shootdown.machine.x86 import Machine
from shootdown.mm.state import FLUSHES, INVALIDATED, IPIS
from shootdown.optimized.policy import Policy
from shootdown.run.execute import Observe, Outcome, execute
from shootdown.run.oracle import Oracle
from shootdown.scenario import Record, Scenario, decode, encode
from shootdown.scenario.verdict import ILLEGAL

COSTS = (FLUSHES, IPIS, INVALIDATED)
NEAR_FAILURE = 0.05
KEPT = 10
"""How many failing inputs are kept for each reason: in the first one, the cause may have misled an operation that
cannot break another rule.
"""
DEMONSTRATIONS = 100
"""The share of runs with a stale entry at the end that are followed by accesses to it: a broken rule leaves such an
entry in every second run.
"""
CROSSED = 0.1
NEWEST = 30
"""How many of the last kept inputs are picked more often than others."""
NEAR_NEWEST = 0.4


class Finished(Exception):
    """The session was told to stop; an engine does not catch this."""


class Report(Protocol):
    """Receives what a session finds."""

    def failure(self, data: bytes, outcome: Outcome) -> None:
        """Report an input that showed something illegal."""

    def interesting(self, data: bytes) -> None:
        """Report an input that showed a feature for the first time."""


class Session:
    """Executes inputs and counts; raises Finished as soon as `stop` says so.

    `pauses`: where the inputs that an engine makes may pause.
    `costs`: the policy's flushes, IPIs and invalidated pages, summed over all executions.
    `reference_costs`: the same for a reference that flushes every CPU at every change of an entry.
    `base`: a base runs each input as well, and a failure that it does not allow is not reported; an input is reported
    up to the record that broke the rule, because the base must not fail for what the policy has not executed.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        seed: int,
        records: int,
        corpus: Sequence[bytes],
        report: Report,
        stop: Callable[[], bool],
        feedback: bool = True,
        machine_type: type[Machine] = Machine,
        base: Base | None = None,
    ) -> None:
        self.strategy = base.strategy() if base else policy.make()
        self.policy = policy
        self.base = base
        self.pauses = Pauses(self.strategy.points())
        self.machine_type = machine_type
        self.seed = seed
        self.records = records
        self.corpus = list(corpus)
        self.report = report
        self.stop = stop
        self.feedback = feedback
        self.executions = 0
        self.undecided = 0
        self.features: set[int] = set()
        self.failing: dict[str, list[bytes]] = {}
        self.demonstrations = 0
        self.newest: deque[bytes] = deque(maxlen=NEWEST)
        self.corpus_size = 0
        self.costs = [0, 0, 0]
        self.reference_costs = [0, 0, 0]

    def run(self, data: bytes) -> set[int]:
        """Execute one input in its binary form and return the features that it showed; new ones are reported."""
        return self.run_scenario(decode(data), data)

    def run_scenario(self, scenario: Scenario, data: bytes | None = None) -> set[int]:
        """Execute one scenario; `data` is its binary form, if the caller has it."""
        shown: set[int] = set()
        outcome = self._execute(scenario, data, observe if self.feedback else None, shown)
        if outcome.reason == AT_REST and self.demonstrations < DEMONSTRATIONS:
            self.demonstrations += 1
            for demonstration in accesses_after(scenario, outcome):
                seen: set[int] = set()
                self._execute(demonstration, None, None, seen)
                self.features |= seen
        if not shown <= self.features:
            self.features |= shown
            self.corpus_size += 1
            self.newest.append(data if data is not None else encode(scenario))
            self.report.interesting(data if data is not None else encode(scenario))
        return shown

    def _execute(
        self, scenario: Scenario, data: bytes | None, watch: Observe | None, shown: set[int]
    ) -> Outcome:
        if self.stop():
            raise Finished
        outcome = execute(
            scenario,
            self.strategy,
            observe=watch,
            shown=shown,
            machine_type=self.machine_type,
        )
        self.executions += 1
        self._account(outcome)
        if outcome.verdict == ILLEGAL:
            self._failed(scenario, data, outcome)
            shown.add(failure_feature(outcome.reason))
        elif outcome.reason:
            self.undecided += 1
        elif self.base:
            self.base.passed(scenario, outcome)
        return outcome

    def _failed(self, scenario: Scenario, data: bytes | None, outcome: Outcome) -> None:
        if self.base:
            scenario, data = self._executed(scenario), None
            if not self.base.allows(scenario, outcome):
                return
        self.report.failure(data if data is not None else encode(scenario), outcome)
        kept = self.failing.setdefault(outcome.reason, [])
        if len(kept) < KEPT:
            kept.append(encode(scenario if self.base else self._executed(scenario)))

    def _executed(self, scenario: Scenario) -> Scenario:
        """Return the scenario up to the record that broke the rule: later records only dilute the changes."""
        applied = 0

        def count(_oracle: Oracle, _record: Record) -> None:
            nonlocal applied
            applied += 1

        execute(scenario, self.policy.make(), applied=count, machine_type=self.machine_type)
        return Scenario(scenario.header, scenario.records[: applied + 1])

    def vary(self, draws: Draws, data: bytes) -> bytes:
        """Return an input to run after `data`: near it, near one of the newest kept inputs, fresh, or now and then near
        one of the first failures of some kind.

        libFuzzer picks among everything that it has kept, but a deep fault is a chain of situations, and each is one
        change away from the newest. With no pick among the newest, partial-by-local took up to 51 CPU seconds, with two
        fifths up to 34, and with half some runs took more than 60.

        One cause breaks several rules; most of these need another operation in the same place, or another access after
        it. When failing inputs were kept whole and changed like any other, partial-by-local freed a frame that a TLB
        holds (C3) after 7,000 to 40,000 executions, and in one run of five it did not break C1, the rule of the fault,
        within 270,000.
        """
        if self.failing and draws.random() < NEAR_FAILURE:
            change = retype if draws.random() < 0.5 else mutate
            kept = self.failing[draws.choice(list(self.failing))]
            return change(draws, draws.choice(kept), self.records, self.pauses)
        if self.newest and draws.random() < NEAR_NEWEST:
            data = draws.choice(self.newest)
        return vary(draws, data, self.records, self.pauses)

    def cross(self, draws: Draws, first: bytes, second: bytes) -> bytes:
        """Return an input to run after two kept ones: now and then made from both, otherwise as `vary` of the first.

        libFuzzer crosses two inputs as often as it changes one, and crossed inputs show a fault less often than all
        others (bench/origins.py).
        """
        if draws.random() < CROSSED:
            return crossover(draws, first, second, self.records, self.pauses)
        return self.vary(draws, first)

    def _account(self, outcome: Outcome) -> None:
        costs = outcome.costs
        changes = outcome.oracle.changes()
        cpus = outcome.world.cpus
        mine, reference = self.costs, self.reference_costs
        mine[0] += costs[FLUSHES]
        mine[1] += costs[IPIS]
        mine[2] += costs[INVALIDATED]
        reference[0] += changes
        reference[1] += changes * (cpus - 1)
        reference[2] += changes * cpus
