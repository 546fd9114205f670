"""The evidence of a finding: the trace of its first run, and the outcome of each replay."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlite_utils import Database

from shootdown.store.open import Store
from shootdown.store.timestamps import canonical

Verdict = Literal["legal", "illegal", "undecided"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why an outcome is illegal: its steps as lines; as JSON values the page's history and the operations in flight."""

    steps: Sequence[str]
    history: Sequence[Any]
    open_operations: Sequence[Any]


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """The evidence of a finding, from the run that was recorded first."""

    at: str
    tool_version: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay of a finding (by its key), under a policy that need not be the one that it was found with."""

    finding: str
    at: str
    policy: str
    tool_version: str
    verdict: Verdict
    rule: str
    reason: str
    reproduced: bool


def insert_trace(db: Database, key: str, trace: StoredTrace) -> None:
    """Give the finding this trace, unless it already has one; the caller's transaction stores it."""
    db.execute(
        """
        INSERT INTO traces (finding, at, tool_version, steps, history, open_operations)
        VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (finding) DO NOTHING
        """,
        [
            key,
            canonical(trace.at),
            trace.tool_version,
            json.dumps(list(trace.evidence.steps)),
            json.dumps(list(trace.evidence.history)),
            json.dumps(list(trace.evidence.open_operations)),
        ],
    )


def load_trace(store: Store, key: str) -> StoredTrace | None:
    """Return the trace of the finding with this full key, or None if it has none."""
    rows = store.select("SELECT * FROM traces WHERE finding = ?", [key])
    if not rows:
        return None
    row = rows[0]
    evidence = Evidence(
        steps=json.loads(row["steps"]),
        history=json.loads(row["history"]),
        open_operations=json.loads(row["open_operations"]),
    )
    return StoredTrace(at=row["at"], tool_version=row["tool_version"], evidence=evidence)


def record_replay(store: Store, replay: Replay) -> None:
    """Store the replay durably, once, however often it is recorded."""
    row = asdict(replay) | {"at": canonical(replay.at), "reproduced": int(replay.reproduced)}
    with store.transaction() as db:
        db.table("replays").upsert(row)


def list_replays(store: Store, key: str) -> list[Replay]:
    """Return the replays of the finding with this full key, the last one first."""
    rows = store.select(
        "SELECT * FROM replays WHERE finding = ? ORDER BY at DESC, reproduced DESC", [key]
    )
    return [Replay(**row | {"reproduced": bool(row["reproduced"])}) for row in rows]
