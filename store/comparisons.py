"""Comparisons of the models with another machine, and what the two did not agree about."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shootdown.store.open import Store
from shootdown.store.timestamps import canonical


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is known when a comparison starts: its kind, its seed, and the machine that the models are held against."""

    kind: str
    seed: int
    tool_version: str
    python: str
    machine: Mapping[str, object]
    left_out: Sequence[str]
    started: str

    @property
    def id(self) -> str:
        """Return 32 hex digits made from kind, seed, machine and start; they are the same in every database."""
        parts = [self.kind, str(self.seed), _json(self.machine), canonical(self.started)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a comparison got.

    `explained`: for the name of each known difference, how many sequences show it.
    """

    sequences: int = 0
    operations: int = 0
    accesses: int = 0
    seconds: float = 0.0
    explained: str = "{}"


@dataclass(frozen=True, slots=True)
class StoredComparison:
    """A comparison as the store has it; `ended` is None while it runs, or when it was killed."""

    id: str
    comparison: Comparison
    reach: Reach
    ended: str | None
    disagreements: int


@dataclass(frozen=True, slots=True)
class StoredDisagreement:
    """What two machines showed for one minimized scenario; `text` is the scenario as people read it."""

    kind: str
    what: str
    model: str
    other: str
    text: str

    @property
    def key(self) -> str:
        """Return 64 hex digits, which are equal exactly for equal disagreements."""
        return hashlib.sha256(json.dumps([*asdict(self).values()]).encode()).hexdigest()


def start_comparison(store: Store, comparison: Comparison) -> str:
    """Store the comparison durably, without an end, and return its id."""
    row = {
        "id": comparison.id,
        "kind": comparison.kind,
        "seed": comparison.seed,
        "tool_version": comparison.tool_version,
        "python": comparison.python,
        "machine": _json(comparison.machine),
        "left_out": json.dumps(list(comparison.left_out)),
        "started": canonical(comparison.started),
        "ended": None,
    }
    with store.transaction() as db:
        db.table("comparisons").insert(row | asdict(Reach()))
    return comparison.id


def save_reach(store: Store, comparison: str, reach: Reach, ended: str | None = None) -> None:
    """Store the figures durably, and with `ended` the end of the comparison."""
    row = asdict(reach) | {"ended": canonical(ended) if ended else None}
    with store.transaction() as db:
        db.table("comparisons").update(comparison, row)


def record_disagreement(store: Store, comparison: str, found: StoredDisagreement, at: str) -> bool:
    """Store durably that the comparison saw the disagreement once more; return whether the disagreement was new.

    It may be announced only after this returns.
    """
    key, at = found.key, canonical(at)
    with store.transaction() as db:
        new = db.table("disagreements").count_where("key = ?", [key]) == 0
        if new:
            db.table("disagreements").insert({"key": key} | asdict(found))
        db.execute(
            """
            INSERT INTO disagreement_sightings (disagreement, comparison, count, first_seen, last_seen)
            VALUES (:key, :comparison, 1, :at, :at)
            ON CONFLICT (disagreement, comparison) DO UPDATE
            SET count = count + 1, last_seen = max(last_seen, excluded.last_seen)
            """,
            {"key": key, "comparison": comparison, "at": at},
        )
    return new


def list_comparisons(store: Store) -> list[StoredComparison]:
    """Return all comparisons, the last begun first."""
    rows = store.select("""
        SELECT comparisons.*,
               (SELECT count(*) FROM disagreement_sightings AS seen WHERE seen.comparison = comparisons.id)
                   AS disagreements
        FROM comparisons ORDER BY started DESC, id
    """)
    return [_comparison(row) for row in rows]


def _comparison(row: Mapping[str, Any]) -> StoredComparison:
    return StoredComparison(
        id=row["id"],
        comparison=Comparison(
            kind=row["kind"],
            seed=row["seed"],
            tool_version=row["tool_version"],
            python=row["python"],
            machine=json.loads(row["machine"]),
            left_out=json.loads(row["left_out"]),
            started=row["started"],
        ),
        reach=Reach(
            row["sequences"], row["operations"], row["accesses"], row["seconds"], row["explained"]
        ),
        ended=row["ended"],
        disagreements=row["disagreements"],
    )


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(dict(value), sort_keys=True)
