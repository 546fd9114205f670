"""Assertions for tests of policies, under pytest or any other runner.

They are deterministic: policy, arguments and version decide the result. There are no fixtures, because a plugin would
be imported by every pytest run in an environment that has this package.
"""

import shlex
from pathlib import Path
from typing import Final

from shootdown.api import fuzz_policy, load_policy, replay
from shootdown.policy.source import PolicyLike
from shootdown.results import ReplayResult
from shootdown.scenario.verdict import RULES
from shootdown.system.user_error import UserError

EXECUTIONS: Final = 2000


def assert_survives(policy: PolicyLike, executions: int = EXECUTIONS, seed: int = 1) -> None:
    """Fuzz the policy in this process, and pass when these executions find nothing; that is no proof.

    AssertionError at the first illegal outcome, with the rule, the reason, the minimized scenario, its explanation, and
    how to see it again.
    Errors: those of `fuzz_policy`.
    """
    __tracebackhide__ = True
    loaded = load_policy(policy)
    result = fuzz_policy(loaded, executions=executions, seed=seed, until_finding=True)
    if result.quiet:
        return
    finding = result.findings[0]
    shown = replay(finding.scenario, loaded)
    again = "shootdown.replay(scenario, policy), where scenario is the text above"
    if loaded.spec:
        command = f"shootdown replay scenario.txt --policy {shlex.quote(loaded.spec)}"
        again = f"{command}, where scenario.txt holds the text above"
    raise AssertionError(
        f"Policy {loaded.name} does not survive execution {finding.execution} of seed {seed}:"
        f" {finding.rule} {finding.reason}.\n\n{shown.report}\n"
        f"Replay: {again}."
    )


def assert_legal(scenario: str | Path, policy: PolicyLike) -> None:
    """Run the scenario, and pass when it shows nothing illegal and reaches a verdict.

    AssertionError with the explanation otherwise.
    Errors: those of `replay`.
    """
    __tracebackhide__ = True
    shown = replay(scenario, policy)
    if shown.verdict != "legal":
        raise AssertionError(f"The scenario is not legal.\n\n{shown.report}")


def assert_illegal(
    scenario: str | Path, policy: PolicyLike, rule: str | None = None
) -> ReplayResult:
    """Run the scenario, and return what it shows; it must break this rule, or any rule if none is named.

    AssertionError with the explanation otherwise.
    Errors: those of `replay`, and UserError for an unknown rule.
    """
    __tracebackhide__ = True
    if rule is not None and rule not in RULES:
        raise UserError(f"{rule!r} is no rule; there are {', '.join(RULES)}.")
    shown = replay(scenario, policy)
    if shown.verdict != "illegal" or rule not in {None, shown.rule}:
        wanted = f" by {rule}" if rule else ""
        raise AssertionError(f"The scenario is not illegal{wanted}.\n\n{shown.report}")
    return shown
