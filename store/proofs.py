"""What was searched exhaustively, and how that ended."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from shootdown.store.evidence import Verdict
from shootdown.store.open import Store


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of the campaign of that id: everything was explored up to `complete` operations.

    `scope`: the scope in words; `bound`: the same as options.
    `why`: the limit that an undecided proof met.
    `finding`: the key of the counterexample of an illegal proof.
    """

    campaign: str
    scope: str
    bound: Mapping[str, object]
    verdict: Verdict
    complete: int
    worlds: int
    transitions: int
    seconds: float
    why: str = ""
    finding: str | None = None


def record_proof(store: Store, proof: Proof) -> None:
    """Store the outcome durably. Its campaign and its finding must be in this store."""
    row = asdict(proof) | {"bound": json.dumps(dict(proof.bound), sort_keys=True)}
    with store.transaction() as db:
        db.table("proofs").upsert(row)


def list_proofs(store: Store) -> list[Proof]:
    """Return all proofs, the last begun first."""
    rows = store.select("""
        SELECT proofs.* FROM proofs JOIN campaigns ON campaigns.id = proofs.campaign
        ORDER BY campaigns.started DESC, campaigns.id
    """)
    return [_proof(row) for row in rows]


def _proof(row: Mapping[str, Any]) -> Proof:
    values = {field.name: row[field.name] for field in fields(Proof)}
    return Proof(**(values | {"bound": json.loads(row["bound"])}))
