"""What `shootdown fuzz --against` says at the end: what the policy and its base cost, and where their rules differ."""

from collections.abc import Iterator
from typing import Final

from shootdown.cli.options import counted
from shootdown.fuzz.base import COSTS, Decision, Tally
from shootdown.fuzz.campaign.plan import Plan
from shootdown.machine.entry import PAT_LARGE, PFN_MASK
from shootdown.machine.geometry import FRAME_BITS
from shootdown.policy.source import told_apart
from shootdown.table.changes import NEW_FRAME, OLD_FRAME, describe

SHOWN: Final = 10
"""Lines about the changes that the rules decided differently."""


def names_of(plan: Plan) -> tuple[str, str]:
    """Return the names of the policy and its base, told apart; the second is "" if there is no base."""
    if plan.base is None:
        return plan.policy.name, ""
    policy, base = told_apart([plan.policy, plan.base])
    return policy.name, base.name


def against_lines(plan: Plan, tally: Tally) -> Iterator[str]:
    """Yield the lines about a campaign's base."""
    policy, base = names_of(plan)
    yield f"Against {base}, over {counted(tally.compared, 'input')} that ran to the end under both:"
    saved = {
        word: f"{100 * (1 - mine / theirs):.1f} %" if theirs else "-"
        for word, mine, theirs in zip(COSTS, tally.costs, tally.base_costs, strict=True)
    }
    # Not a dict: a policy that is held against itself has one name twice.
    rows = [(policy, _costs(tally.costs)), (base, _costs(tally.base_costs)), ("saved", saved)]
    width = max(len(name) for name, _ in rows)
    for name, cells in rows:
        yield f"  {name:{width}}  " + ", ".join(f"{word} {cell}" for word, cell in cells.items())
    yield f"Also illegal under {base}: {tally.shared:,}."
    if tally.otherwise:
        yield f"Illegal for another reason under {base}, or undecided: {tally.otherwise:,}; no findings of these."
    if tally.base_only:
        yield f"Illegal under {base} only: {tally.base_only:,}."
    yield from _decision_lines(policy, base, tally.decisions)


def against_document(plan: Plan, tally: Tally) -> dict[str, object]:
    """Return the same as JSON values."""
    policy, base = names_of(plan)
    return {
        "policy": base,
        "policy_version": plan.base.version if plan.base else "",
        "inputs_compared": tally.compared,
        "costs": dict(zip(COSTS, tally.costs, strict=True)),
        "base_costs": dict(zip(COSTS, tally.base_costs, strict=True)),
        "also_illegal": tally.shared,
        "illegal_otherwise": tally.otherwise,
        "illegal_under_base_only": tally.base_only,
        "decided_differently": [
            {
                "size": _size(each),
                "changes": _changes(each),
                "old": hex(each.old),
                "new": hex(each.new),
                "example": _example(each),
                "flushes": policy if each.flushes else base,
                "times": each.times,
            }
            for each in tally.decisions
        ],
    }


def _costs(costs: list[int]) -> dict[str, str]:
    return {word: f"{cost:,}" for word, cost in zip(COSTS, costs, strict=True)}


def _decision_lines(policy: str, base: str, decisions: list[Decision]) -> Iterator[str]:
    if not decisions:
        yield "Their rules decided alike about every change that came up."
        return
    times = sum(each.times for each in decisions)
    yield (
        f"Their rules decided differently {counted(times, 'time')},"
        f" about {counted(len(decisions), 'kind')} of change:"
    )
    shown = decisions if len(decisions) <= SHOWN else decisions[: SHOWN - 1]
    for each in shown:
        flushing, other = (policy, base) if each.flushes else (base, policy)
        yield (
            f"  {_size(each)} {_changes(each)}: {flushing} flushes, {other} does not,"
            f" {counted(each.times, 'time')}: {_example(each)}"
        )
    rest = decisions[len(shown) :]
    if rest:
        yield f"  and {len(rest)} more kinds, {counted(sum(each.times for each in rest), 'time')}"


def _size(each: Decision) -> str:
    return "2 MiB" if each.huge else "4 KiB"


def _changes(each: Decision) -> str:
    """Return the words of the table for a class of changes, such as `RW cleared, NX set`."""
    words = [" ".join(word.rsplit("-", 1)) for word in each.changes.split("+")]
    return ", ".join(filter(None, words)) or "unchanged"


def _example(each: Decision) -> str:
    """Return the example as the table shows one: with the frames of the table."""
    frames = PFN_MASK & ~PAT_LARGE if each.huge else PFN_MASK
    moved = NEW_FRAME if (each.old ^ each.new) & frames else OLD_FRAME
    old = each.old and each.old & ~frames | FRAME_BITS[OLD_FRAME]
    new = each.new and each.new & ~frames | FRAME_BITS[moved]
    return " -> ".join(describe(entry, huge=each.huge) for entry in (old, new))
