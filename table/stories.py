"""The scenarios of the corpus that a policy fails, for each change of an entry that it left unflushed."""

from functools import cache

from shootdown.evidence.skip import guilty_skip
from shootdown.machine.entry import PFN_MASK, PSE
from shootdown.policy.source import LoadedPolicy, blamed
from shootdown.run.execute import execute
from shootdown.scenario.corpus import load
from shootdown.table.changes import CONTEXT

ChangeKey = tuple[bool, int, int, bool, int]


def change_key(old: int, new: int, *, huge: bool) -> ChangeKey:
    """Return the parts of a change without its frames: what is set, cleared and moved, and in which context."""
    changed = (old ^ new) & ~PFN_MASK
    moved = bool((old ^ new) & PFN_MASK)
    context = old & ~changed & sum(CONTEXT)
    return huge, changed & new, changed & old, moved, context


@cache
def stories_by_change(loaded: LoadedPolicy) -> dict[ChangeKey, list[str]]:
    """Return, for each skipped change, the names of the bad scenarios that the policy fails because of the skip."""
    found: dict[ChangeKey, list[str]] = {}
    for name, parsed in load().items():
        if not name.startswith("bad_"):
            continue
        with blamed(loaded):
            outcome = execute(parsed.scenario, loaded.policy.make())
        if outcome.violation and guilty_skip(outcome):
            _, old, new = outcome.oracle.skips[outcome.violation.slot]
            # The bit is PAT in an entry of 4 KiB, and no operation sets that.
            found.setdefault(change_key(old, new, huge=bool(old & PSE)), []).append(name)
    return found
