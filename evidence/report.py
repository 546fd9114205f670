"""The explanation of a run as text for people: 100 columns, so that it fits a mail and a terminal."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from shootdown.evidence.columns import columns
from shootdown.evidence.explain import Explanation
from shootdown.scenario import render, render_record
from shootdown.scenario.verdict import RULES
from shootdown.store import Evidence

WIDTH: Final = 100
_TIMELINE: Final = (4, 4, 19, 26)
"""Widths of the columns time, CPU, operation and step; the changes have the rest of the line."""


def report(
    told: Explanation,
    *,
    base: Explanation | None = None,
    replay: str = "",
    timeline: bool = True,
    title: str = "",
) -> str:
    """Return the report of a run; its last line is `replay`, the literal command that shows the run again.

    `base`: the same scenario under another policy, which the run is held against.
    """
    lines = [*_headline(told, title), "", *_scenario(told), *missed_lines(told)]
    if timeline:
        lines += ["", *timeline_lines(told)]
    if told.verdict == "illegal":
        lines += _evidence(told)
    if base:
        lines += ["", *_against(told, base)]
    lines += ["", "Replay:", f"  {replay}"] if replay else []
    return "\n".join(lines) + "\n"


def evidence(told: Explanation) -> Evidence:
    """Return what the findings database keeps of an explanation."""
    return Evidence(
        timeline_lines(told),
        list(map(asdict, told.history)),
        list(map(asdict, told.open_operations)),
    )


def missed_lines(told: Explanation) -> list[str]:
    """Return one line for each pause that the scenario asks for and the run did not make."""
    why = {
        "ended": "the operation ended before it",
        "blocked": "the operation was blocked before it",
        "idle": "the CPU had no operation in flight",
    }
    return [
        f"Pause not made: {render_record(told.scenario.records[missed.record])}"
        f" (record {missed.record + 1}): {why[missed.why]}."
        for missed in told.missed_pauses
    ]


def timeline_lines(told: Explanation) -> list[str]:
    """Return a heading and one row for each step; the operation is named only where it is not that of the
    row before.
    """
    lines = _row(("time", "CPU", "operation", "step"), ["what changed"])
    before = (-1, -1)
    tables = told.reason == "freed-table-still-cached"
    for step in told.steps:
        now = (step.cpu, step.record)
        operation = told.operation(step.record) if now != before else ""
        before = now
        changes = [*step.changes, *(step.upper if tables else ())]
        lines += _row((str(step.time), f"cpu{step.cpu}", operation, step.step), changes)
    return lines


def _against(told: Explanation, base: Explanation) -> list[str]:
    """Return what the base has shown and spent, beside the policy."""
    names = {"flushes": "flushes", "ipis": "IPIs", "invalidated_pages": "invalidated pages"}
    shown = f"{base.verdict}, {base.rule} {base.reason}" if base.rule else base.verdict
    words = [f"{names[name]} {told.costs[name]} for {cost}" for name, cost in base.costs.items()]
    return _wrap(f"Against {base.policy}, which is {shown}: {', '.join(words)}.")


def _headline(told: Explanation, title: str) -> list[str]:
    head = title or f"policy {told.policy}"
    if told.verdict == "legal":
        costs = ", ".join(f"{name} {count}" for name, count in told.costs.items())
        return [f"{head}: legal", f"steps {len(told.steps)}, {costs}".replace("_", " ")]
    if told.verdict != "illegal":
        return [f"{head}: undecided, {told.reason}", _sentence(told.meaning)]
    last = told.steps[-1]
    where = f"Step {last.time}, cpu{last.cpu}"
    if last.record >= 0:
        where += f", {told.operation(last.record)}"
    about = [f"page {told.page}"] if told.page else []
    about += [told.access] if told.access else []
    subject = f" ({', '.join(about)})" if about else ""
    return [
        f"{head}: illegal, {told.rule} {told.reason}",
        *_wrap(f"{where}: {told.meaning}{subject}."),
        *_wrap(f"Rule {told.rule}: {RULES[told.rule]}"),
        *(_wrap(f"The text: {told.decided}.") if told.decided else ()),
    ]


def _scenario(told: Explanation) -> list[str]:
    return ["Scenario:", *(f"  {line}".rstrip() for line in render(told.scenario).splitlines())]


def _evidence(told: Explanation) -> list[str]:
    lines = ["", f"Guilty skip: {told.skip or 'none'}"]
    if told.skipped_change:
        lines += _wrap(f"  {told.skipped_change}, left unflushed")
    if told.skipped_at:
        lines += _wrap(f"  decided at {told.skipped_at}")
    if told.history:
        lines += ["", f"Values of page {told.page}, and whether an access may still see them:"]
        lines += columns(
            ("", "version", "frame", "rights", "stored at", "by"),
            [
                (
                    "allowed" if version.allowed else "revoked",
                    str(version.index),
                    version.incarnation,
                    version.rights,
                    str(version.time) if version.time else "start",
                    version.operation,
                )
                for version in told.history
            ],
        )
        lines += ["", f"TLB entries for page {told.page}:"]
        lines += columns(
            ("", "CPU", "pages", "entry", "filled at", "by", "dropped at"),
            [
                (
                    cached.compared,
                    f"cpu{cached.cpu}",
                    cached.pages,
                    cached.entry,
                    str(cached.filled),
                    cached.operation,
                    str(cached.dropped or "-"),
                )
                for cached in told.cached
            ],
        ) or ["  none"]
    lines += ["", "Operations in flight:"]
    lines += [
        f"  cpu{open_.cpu} {open_.operation}, at {open_.step}" for open_ in told.open_operations
    ] or ["  none"]
    return lines


def _row(cells: Sequence[str], changes: Sequence[str]) -> list[str]:
    """Return one row of the timeline; text that does not fit a column continues in the lines below."""
    rest = WIDTH - sum(_TIMELINE) - 2 * len(_TIMELINE)
    cells_of = [textwrap.wrap(cell, width) for cell, width in zip(cells, _TIMELINE, strict=True)]
    cells_of.append([line for text in changes for line in _indented(text, rest)])
    rows = []
    for i in range(max(map(len, cells_of))):
        parts = [column[i] if i < len(column) else "" for column in cells_of]
        first = parts[0].rjust(_TIMELINE[0])
        middle = [part.ljust(width) for part, width in zip(parts[1:-1], _TIMELINE[1:], strict=True)]
        rows.append("  ".join([first, *middle, parts[-1]]).rstrip())
    return rows


def _indented(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ")


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
