"""The guilty skip: the change of an entry that a policy left unflushed and that explains an illegal outcome.

Its slug is part of a finding's identity, so it is made of stable words only: the operation and the flags that changed.
"""

from collections.abc import Callable

from shootdown.machine.entry import DIRTY, NX, PFN_MASK, PKEY, PRESENT, PSE, RW, USER
from shootdown.mm import flags
from shootdown.optimized.policy import Policy
from shootdown.run.execute import Outcome
from shootdown.run.oracle import NO_SKIP
from shootdown.scenario import kinds


def guilty_skip(outcome: Outcome) -> str:
    """Return the slug of the last skip on the page that can explain the violation, or "" when there is none.

    Any unflushed change explains a denial. Every other violation is explained only by a change that took away a right,
    the dirty bit, the frame or the protection key.
    """
    if outcome.violation is None:
        return ""
    skip = outcome.oracle.skips[outcome.violation.slot]
    if skip == NO_SKIP:
        return ""
    operation, old, new = skip
    if outcome.rule != "C2" and not takes_away(old, new):
        return ""
    return skip_slug(operation, old, new)


def skip_slug(operation: int, old: int, new: int) -> str:
    """Return `mprotect:NX-cleared` for an unflushed change of an entry by an operation.

    `operation`: the number of its kind, negative for none.
    Several changes are joined by `+`.
    """
    name = kinds.KINDS[operation].name if operation >= 0 else "kernel"
    return f"{name}:{'+'.join(flags.changes(old, new)) or 'unchanged'}"


def takes_away(old: int, new: int) -> bool:
    """Return whether a TLB that still holds `old` may show something that `new` does not allow."""
    if not old & PRESENT:
        return False
    if not new & PRESENT or (old ^ new) & (PFN_MASK | PKEY):
        return True
    return bool(old & ~new & (RW | USER | DIRTY) or new & ~old & NX)


def branch_of(policy: Policy, old: int, new: int) -> str:
    """Return the line of the policy's rule that decides about a change, "" for a rule that cannot tell."""
    huge = policy.huge_needs_flush if old & PSE else None
    branch: Callable[[int, int], str] | None = getattr(huge or policy.needs_flush, "branch", None)
    return branch(old, new) if branch else ""
