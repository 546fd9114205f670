"""The base of a campaign: a second policy on the same inputs, and where the policy of the campaign differs from it.

What the two cost is compared over the inputs that run to their end under both: a run ends at its first violation, and
a shorter run flushes less.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shootdown.machine.x86 import Machine
from shootdown.mm import flags
from shootdown.mm.state import FLUSHES, FULL, INVALIDATED, IPIS
from shootdown.optimized.policy import NeedFlush, Policy
from shootdown.optimized.strategy import GatherFlush
from shootdown.run.execute import Outcome, execute
from shootdown.scenario import Scenario
from shootdown.scenario.verdict import ILLEGAL, LEGAL

COSTS: Final = {"flushes": FLUSHES, "IPIs": IPIS, "full flushes": FULL, "pages": INVALIDATED}
"""The costs of a run, by their words in the output."""


class Decision(NamedTuple):
    """A class of changes about which the rules of the policy and the base have differed, and how often.

    `huge`: the entries are of 2 MiB.
    `changes`: the words of mm.flags.changes, joined by `+`; "" for an entry that stays the same.
    `flushes`: the policy flushes and the base does not; else it is the other way round.
    `old`, `new`: the example, which is the smallest pair of entries.
    """

    huge: bool
    changes: str
    flushes: bool
    old: int
    new: int
    times: int


@dataclass(slots=True)
class Tally:
    """What the same inputs have shown under the policy and under the base.

    `compared`: the number of inputs that ran to their end under both.
    `costs`, `base_costs`: the sums of COSTS over these inputs.
    `shared`: failing inputs that break the same rule for the same reason under the base.
    `otherwise`: failing inputs for which the base is illegal for another reason, or undecided.
    `base_only`: inputs that are illegal under the base only.
    `decisions`: one for each class of changes.
    """

    compared: int = 0
    costs: list[int] = field(default_factory=lambda: [0] * len(COSTS))
    base_costs: list[int] = field(default_factory=lambda: [0] * len(COSTS))
    shared: int = 0
    otherwise: int = 0
    base_only: int = 0
    decisions: list[Decision] = field(default_factory=list)


def total(tallies: Iterable[Tally]) -> Tally:
    """Return the tally of all inputs of the given ones; the class of changes that was met most often comes first."""
    whole, met = Tally(), _Met()
    for tally in tallies:
        whole.compared += tally.compared
        _add(whole.costs, tally.costs)
        _add(whole.base_costs, tally.base_costs)
        whole.shared += tally.shared
        whole.otherwise += tally.otherwise
        whole.base_only += tally.base_only
        for decision in tally.decisions:
            met.add(decision)
    whole.decisions = met.decisions()
    return whole


class Base:
    """Runs a campaign's inputs under the base, and asks both rules about each change that a run asks its rule about."""

    def __init__(self, policy: Policy, base: Policy, machine_type: type[Machine] = Machine) -> None:
        self.policy = policy
        self.base = base
        self.machine_type = machine_type
        self._tally = Tally()
        self._met = _Met()
        self._strategy = base.make()
        if policy.huge_inline and not base.huge_inline:
            # The policy never asks a rule about a huge PMD, because it always flushes it; the base does.
            rule = self._strategy.huge_needs_flush
            self._strategy.huge_needs_flush = self._noting(rule, policy, huge=True, by_base=True)

    def strategy(self) -> GatherFlush:
        """Return the strategy of the policy, whose runs are the same; what it asks its rule, the base is asked too."""
        strategy = self.policy.make()
        strategy.needs_flush = self._noting(strategy.needs_flush, self.base, huge=False)
        strategy.huge_needs_flush = self._noting(strategy.huge_needs_flush, self.base, huge=True)
        return strategy

    def tally(self) -> Tally:
        """Return what has been shown so far."""
        self._tally.decisions = self._met.decisions()
        return self._tally

    def passed(self, scenario: Scenario, outcome: Outcome) -> None:
        """Compare an input that has run to its end under the policy."""
        theirs = self._run(scenario)
        if theirs.verdict == LEGAL:
            tally = self._tally
            tally.compared += 1
            _add(tally.costs, [outcome.costs[index] for index in COSTS.values()])
            _add(tally.base_costs, [theirs.costs[index] for index in COSTS.values()])
        elif theirs.verdict == ILLEGAL:
            self._tally.base_only += 1

    def allows(self, scenario: Scenario, outcome: Outcome) -> bool:
        """Return whether an input that is illegal under the policy is legal under the base; count it if it is not."""
        theirs = self._run(scenario)
        if theirs.verdict == LEGAL:
            return True
        if theirs.verdict == ILLEGAL and theirs.reason == outcome.reason:
            self._tally.shared += 1
        else:
            self._tally.otherwise += 1
        return False

    def _run(self, scenario: Scenario) -> Outcome:
        return execute(scenario, self._strategy, machine_type=self.machine_type)

    def _noting(
        self, rule: NeedFlush, other: Policy, *, huge: bool, by_base: bool = False
    ) -> NeedFlush:
        """Return the rule, which also notes each change about which the other policy decides differently."""
        asked, note = other.flushes, self._met.note

        def decide(old: int, new: int) -> bool:
            flushes = rule(old, new)
            if flushes != asked(old, new, huge=huge):
                note(old, new, huge=huge, flushes=flushes != by_base)
            return flushes

        return decide


class _Met:
    """The decisions that differed, by their class."""

    def __init__(self) -> None:
        self._by_class: dict[tuple[bool, str, bool], tuple[int, int, int]] = {}

    def note(self, old: int, new: int, *, huge: bool, flushes: bool) -> None:
        self.add(Decision(huge, "+".join(flags.changes(old, new)), flushes, old, new, 1))

    def add(self, met: Decision) -> None:
        key = (met.huge, met.changes, met.flushes)
        old, new, times = self._by_class.get(key, (met.old, met.new, 0))
        self._by_class[key] = (*min((old, new), (met.old, met.new)), times + met.times)

    def decisions(self) -> list[Decision]:
        found = [Decision(*key, *value) for key, value in self._by_class.items()]
        return sorted(found, key=lambda met: (-met.times, met))


def _add(sums: list[int], costs: Iterable[int]) -> None:
    for i, cost in enumerate(costs):
        sums[i] += cost
