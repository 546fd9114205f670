"""Findings in forms that other programs and people read: JSON lines, CSV and scenario text."""

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Final, TextIO

from shootdown.store.evidence import list_replays, load_trace
from shootdown.store.findings import StoredFinding, list_sightings
from shootdown.store.open import Store

CSV_COLUMNS: Final = (
    "id",
    "policy",
    "rule",
    "reason",
    "skip",
    "operations",
    "cpus",
    "pages",
    "count",
    "campaigns",
    "first_seen",
    "last_seen",
    "runs",
    "tool_version",
    "scenario",
    "original",
    "key",
)


def jsonable(value: object) -> object:
    """The same value with every byte string in it as hex digits, which is how JSON and CSV carry scenarios here."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def finding_document(store: Store, finding: StoredFinding) -> dict[str, object]:
    """All that the store knows of a finding, ready for JSON: its minimum, sightings, trace and replays."""
    trace = load_trace(store, finding.key)
    return _flat(finding) | {
        "sightings": jsonable([asdict(seen) for seen in list_sightings(store, finding.key)]),
        "trace": jsonable(asdict(trace)) if trace else None,
        "replays": [asdict(replay) for replay in list_replays(store, finding.key)],
    }


def export_jsonl(store: Store, findings: Iterable[StoredFinding], out: TextIO) -> None:
    """One line of JSON for each finding: its finding_document."""
    out.writelines(f"{json.dumps(finding_document(store, finding))}\n" for finding in findings)


def export_csv(findings: Iterable[StoredFinding], out: TextIO) -> None:
    """A line of CSV_COLUMNS and one for each finding; byte strings are hex digits. Open a file with newline=""."""
    writer = csv.DictWriter(out, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_flat(finding) for finding in findings)


def export_text(findings: Iterable[StoredFinding], out: TextIO) -> None:
    """Each finding's scenario in its text form, under a comment that says what it shows.

    The export of a single finding is a scenario file that can be replayed and kept in git.
    """
    between = ""
    for finding in findings:
        minimum = finding.minimum
        skip = f", skip {minimum.skip}" if minimum.skip else ""
        out.write(
            f"{between}# finding {finding.id}: {minimum.policy} {minimum.rule} {minimum.reason}{skip}\n"
            f"# seen {finding.count} times, {finding.first_seen} to {finding.last_seen}\n"
            f"{minimum.text.rstrip()}\n"
        )
        between = "\n"


def _flat(finding: StoredFinding) -> dict[str, object]:
    row: dict[str, object] = {"id": finding.id} | asdict(finding.minimum) | asdict(finding)
    del row["minimum"]
    return {name: jsonable(value) for name, value in row.items()}
