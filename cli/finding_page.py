"""One finding as the database has it, as lines of text."""

from collections.abc import Sequence
from typing import Any

from shootdown.cli.options import replay_command
from shootdown.evidence.columns import columns
from shootdown.policy.source import spec_of_finding
from shootdown.scenario.verdict import REASONS
from shootdown.store import (
    Store,
    StoredFinding,
    find_campaign,
    list_replays,
    list_sightings,
    load_trace,
)


def page(store: Store, finding: StoredFinding, db: str) -> list[str]:
    """Return all that the database has of a finding; the last line is the command that replays it."""
    minimum = finding.minimum
    _, meaning = REASONS.get(minimum.reason, ("", "a reason that this version does not know"))
    lines = [
        f"Finding {finding.id}, policy {minimum.policy}: {minimum.rule} {minimum.reason},",
        f"{meaning}.",
        f"Guilty skip: {minimum.skip or 'none'}",
        f"Seen: {finding.count:,}, {finding.first_seen[:19]} to {finding.last_seen[:19]} UTC",
        "",
        "Scenario:",
        *(f"  {line}".rstrip() for line in minimum.text.splitlines()),
        "",
    ]
    trace = load_trace(store, finding.key)
    if trace is not None:
        lines += [*trace.evidence.steps, ""]
        lines += _listed("Values of the page:", trace.evidence.history)
        lines += _listed("Operations in flight:", trace.evidence.open_operations)
    lines.append("Sightings:")
    lines += columns(
        ("at", "campaign", "against", "seen", "first at execution", "runs to minimize", "version"),
        [
            (
                seen.first_seen[:19],
                seen.name,
                seen.base or "-",
                f"{seen.count:,}",
                f"{seen.execution:,}",
                str(seen.runs),
                seen.tool_version,
            )
            for seen in list_sightings(store, finding.key)
        ],
    )
    replays = list_replays(store, finding.key)
    if replays:
        lines += ["", "Replays:"]
        lines += columns(
            ("at", "policy", "showed", "reproduced", "version"),
            [
                (
                    replay.at[:19],
                    replay.policy,
                    f"{replay.rule} {replay.reason}".strip() or replay.verdict,
                    "yes" if replay.reproduced else "no",
                    replay.tool_version,
                )
                for replay in replays
            ],
        )
    return [*lines, "", "Replay:", f"  {replay_line(store, finding, db)}"]


def replay_line(store: Store, finding: StoredFinding, db: str) -> str:
    """Return the command that replays the finding, also under the base that it was found against."""
    return replay_command(finding.id, against=base_of(store, finding), db=db)


def base_of(store: Store, finding: StoredFinding) -> str:
    """Return the words for the base of the last campaign that saw the finding, "" for none."""
    last = list_sightings(store, finding.key)[-1]
    campaign = find_campaign(store, last.campaign).campaign
    return spec_of_finding(campaign.base, campaign.base_version)


def _listed(heading: str, items: Sequence[Any]) -> list[str]:
    """Return JSON objects as a table, and other values as lines; the version that wrote them decides what they are."""
    if not items:
        return [heading, "  none", ""]
    if not all(isinstance(item, dict) for item in items):
        return [heading, *(f"  {item}" for item in items), ""]
    names = list(items[0])
    rows = [[_word(item.get(name)) for name in names] for item in items]
    return [heading, *columns(names, rows), ""]


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
