"""Findings in forms that other programs and people read; a form is a function `export_NAME` of this module."""

import csv
import json
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Final, TextIO

from shootdown.store.evidence import list_replays, load_trace
from shootdown.store.findings import StoredFinding, list_sightings
from shootdown.store.open import Store

Export = Callable[[Store, Iterable[StoredFinding], TextIO], None]
"""A function that writes findings to a text file, which must be open with newline=""."""

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
    """Return the same value with every byte string in it as hex digits, as JSON and CSV carry scenarios here."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def finding_document(store: Store, finding: StoredFinding) -> dict[str, object]:
    """Return all that the store knows of a finding, ready for JSON: its minimum, sightings, trace and replays."""
    trace = load_trace(store, finding.key)
    return _flat(finding) | {
        "sightings": jsonable([asdict(seen) for seen in list_sightings(store, finding.key)]),
        "trace": jsonable(asdict(trace)) if trace else None,
        "replays": [asdict(replay) for replay in list_replays(store, finding.key)],
    }


def write_json_items(values: Iterable[object], out: TextIO) -> None:
    """Write an indented array of JSON, each value as soon as it arrives."""
    before = "[\n"
    for value in values:
        # A string in JSON has no line break of its own, so every one is layout.
        out.write(before + textwrap.indent(json.dumps(value, indent=2), "  "))
        before = ",\n"
    out.write("[]\n" if before == "[\n" else "\n]\n")


def export_text(_store: Store, findings: Iterable[StoredFinding], out: TextIO) -> None:
    """Write the scenario of each finding in its text form, under a comment that says what it shows.

    The export of a single finding is a scenario file that can be replayed, and kept in git.
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


def export_json(store: Store, findings: Iterable[StoredFinding], out: TextIO) -> None:
    """Write one array of JSON: the finding_document of each finding."""
    write_json_items((finding_document(store, finding) for finding in findings), out)


def export_jsonl(store: Store, findings: Iterable[StoredFinding], out: TextIO) -> None:
    """Write one line of JSON for each finding: its finding_document."""
    out.writelines(f"{json.dumps(finding_document(store, finding))}\n" for finding in findings)


def export_csv(_store: Store, findings: Iterable[StoredFinding], out: TextIO) -> None:
    """Write a line of CSV_COLUMNS, and one line for each finding; byte strings become hex digits."""
    writer = csv.DictWriter(out, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_flat(finding) for finding in findings)


def _flat(finding: StoredFinding) -> dict[str, object]:
    row: dict[str, object] = {"id": finding.id} | asdict(finding.minimum) | asdict(finding)
    del row["minimum"]
    return {name: jsonable(value) for name, value in row.items()}


FORMATS: Final[dict[str, Export]] = {
    name.removeprefix("export_"): export
    for name, export in list(globals().items())
    if name.startswith("export_")
}
"""The forms that `findings export` writes, by the word after `--format`: each function `export_NAME`; the first is the
default.
"""
