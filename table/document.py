"""The table as JSON values."""

from collections.abc import Sequence

from shootdown.optimized.policy import Policy
from shootdown.scenario.switches import names_of
from shootdown.table.changes import describe
from shootdown.table.rows import MISSING, Cell, Row
from shootdown.table.words import events_of, gains_of, rule_of


def document_of(rows: Sequence[Row], policies: Sequence[Policy]) -> dict[str, object]:
    """Return the policies with their fault handlers, the rows, and the number of missing cells."""
    return {
        "policies": [
            {
                "name": policy.name,
                "handler": policy.handler,
                "report_spurious": policy.report_spurious,
                "huge_inline": policy.huge_inline,
            }
            for policy in policies
        ],
        "missing": sum(cell.verdict == MISSING for row in rows for cell in row.cells),
        "rows": [
            {
                "size": "2M" if row.huge else "4K",
                "group": row.group,
                "change": row.name,
                "context": row.context,
                "needed": row.needed,
                "note": row.note,
                "cells": [
                    _cell(cell, policy, huge=row.huge)
                    for cell, policy in zip(row.cells, policies, strict=True)
                ],
            }
            for row in rows
        ],
    }


def _cell(cell: Cell, policy: Policy, *, huge: bool) -> dict[str, object]:
    found = cell.need.counterexample
    return {
        "policy": policy.name,
        "verdict": cell.verdict,
        "needed": cell.need.needed,
        "gains": gains_of(cell),
        "counterexample": None
        if found is None
        else {
            "old": describe(cell.old, huge=huge),
            "new": describe(cell.new, huge=huge),
            "events": events_of(found),
            "reason": found.reason,
            "rule": rule_of(found.reason),
            "machine": names_of(found.machine),
        },
        "stories": list(cell.stories),
    }
