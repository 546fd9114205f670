"""How far a run gets with a fault: the broken decision is asked for, it makes a difference, the oracle sees it.

This follows the three counts of benchmarks with known bugs (Hazimeh, Herrera, Payer: "Magma: a ground-truth fuzzing
benchmark", SIGMETRICS 2020).
"""

from collections.abc import Callable
from dataclasses import replace
from types import FunctionType

from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized import rules
from shootdown.optimized.policy import NeedFlush, Policy
from shootdown.optimized.strategy import GatherFlush
from shootdown.run.execute import Outcome, execute
from shootdown.scenario import Scenario


def without_fault(policy: Policy) -> Policy:
    """Return the policy with its fault repaired."""
    sound = (rules.v1, rules.arm64)
    rule = policy.needs_flush if policy.needs_flush in sound else rules.linux
    huge = rules.linux_huge if rule is rules.linux else None
    return replace(
        policy,
        needs_flush=rule,
        huge_needs_flush=huge,
        huge_inline=rule is rules.v1,
        # The rule of v1 promotes to executable: that needs a handler that heals a fetch.
        handler=FaultHandler.EXEC_CHECK if rule is rules.v1 else FaultHandler.LINUX,
        report_spurious=False,
        soft_dirty_check=True,
        strategy=GatherFlush if policy.strategy is GatherFlush else policy.strategy.__bases__[0],
        fault=None,
    )


class Stages:
    """Watches one policy; `reached` and `triggered` are the numbers of the first executions that got so far, 0 for
    none.

    Reached: a method of the strategy that the fault replaces was called, or the broken rule was asked.
    Triggered: the run differs from the same run without the fault, in its costs, its steps or what the TLBs hold.
    """

    def __init__(self, policy: Policy) -> None:
        self.reached = 0
        self.triggered = 0
        self.mended = without_fault(policy).make()
        self._asked = False
        methods: dict[str, object] = {
            name: self._watched(method)
            for name, method in vars(policy.strategy).items()
            if policy.strategy is not GatherFlush and isinstance(method, FunctionType)
        }
        strategy = type(policy.strategy.__name__, (policy.strategy,), methods)
        self.policy = replace(policy, strategy=strategy)
        if not methods:
            self.policy = replace(policy, needs_flush=self._asking(policy.needs_flush))

    def _asking(self, rule: NeedFlush) -> NeedFlush:
        def asked(old: int, new: int) -> bool:
            self._asked = True
            return rule(old, new)

        return asked

    def _watched(self, function: Callable[..., object]) -> Callable[..., object]:
        def watched(*arguments: object, **named: object) -> object:
            self._asked = True
            return function(*arguments, **named)

        return watched

    def executed(self, number: int, scenario: Scenario, outcome: Outcome) -> None:
        """Record one execution under `policy`."""
        if self._asked and not self.reached:
            self.reached = number
        if self._asked and not self.triggered:
            mended = execute(scenario, self.mended)
            if _shown(outcome) != _shown(mended):
                self.triggered = number
        self._asked = False


def _shown(outcome: Outcome) -> tuple[object, ...]:
    w = outcome.world
    return outcome.verdict, outcome.steps, w.costs, w.machine.tlb, w.machine.psc
