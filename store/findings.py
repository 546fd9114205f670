"""Findings: an illegal outcome, identified by its canonical minimum, and where and when it was seen."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from shootdown.store.errors import AmbiguousFinding, UnknownFinding
from shootdown.store.evidence import Evidence, StoredTrace, insert_trace
from shootdown.store.open import Store
from shootdown.store.timestamps import canonical

# Hex digits of a key that are shown. 64 bits: no two findings will share them by chance.
SHORT: Final = 16


@dataclass(frozen=True, slots=True)
class Minimum:
    """A canonical minimum, which is all that a finding is.

    `scenario`: the canonical bytes.
    `skip`: the guilty skip, or "".
    """

    policy: str
    rule: str
    reason: str
    skip: str
    scenario: bytes
    text: str
    operations: int
    cpus: int
    pages: int

    @property
    def key(self) -> str:
        """Return 64 hex digits: SHA-256 over policy, rule, reason, skip and scenario, each preceded by its length.

        Two minima have the same key exactly when these five are equal; the text form and the counts follow from them.
        """
        digest = hashlib.sha256()
        for part in (self.policy, self.rule, self.reason, self.skip):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        digest.update(len(self.scenario).to_bytes(4, "big") + self.scenario)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Sighting:
    """How a campaign came to see a finding.

    `original`: the input of that execution.
    `runs`: how many runs the minimizer took.
    """

    campaign: str
    at: str
    execution: int
    original: bytes
    runs: int
    tool_version: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of recording a finding.

    `new`: no campaign had brought this finding into the store before.
    """

    key: str
    new: bool


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """A finding with the sum of all its sightings; `original`, `runs` and `tool_version` are those of the first."""

    key: str
    minimum: Minimum
    first_seen: str
    last_seen: str
    count: int
    campaigns: int
    original: bytes
    runs: int
    tool_version: str

    @property
    def id(self) -> str:
        """Return the part of the key that people see and type; commands accept any unique beginning of it."""
        return self.key[:SHORT]


@dataclass(frozen=True, slots=True)
class StoredSighting:
    """All sightings of a finding by one campaign; `execution` is the number of the campaign's first.

    `base`: the policy of the campaign under which the finding is legal, "" for none.
    """

    campaign: str
    name: str
    base: str
    count: int
    first_seen: str
    last_seen: str
    execution: int
    original: bytes
    runs: int
    tool_version: str


def record_finding(
    store: Store, minimum: Minimum, sighting: Sighting, evidence: Evidence
) -> Recorded:
    """Store the finding, one more sighting and its trace durably; only after that may the finding be announced.

    Neither `kill -9` nor a power cut takes it back. The sighting's campaign must have been started in this store.
    """
    at = canonical(sighting.at)
    key = minimum.key
    with store.transaction() as db:
        new = db.table("minima").count_where("key = ?", [key]) == 0
        if new:
            db.table("minima").insert({"key": key} | asdict(minimum))
        db.execute(
            """
            INSERT INTO sightings (
                finding, campaign, count, first_seen, last_seen, execution, original, runs, tool_version
            )
            VALUES (:finding, :campaign, 1, :at, :at, :execution, :original, :runs, :tool_version)
            ON CONFLICT (finding, campaign) DO UPDATE
            SET count = count + 1, last_seen = max(last_seen, excluded.last_seen)
            """,
            asdict(sighting) | {"finding": key, "at": at},
        )
        insert_trace(db, key, StoredTrace(at, sighting.tool_version, evidence))
    return Recorded(key, new)


def count_again(store: Store, campaign: str, counts: Mapping[str, int], *, at: str) -> None:
    """For each finding, given by its full key, store how many times more its campaign saw it.

    The campaign has already recorded each of the findings. A power cut may take back the last calls: only a first
    sighting is announced.
    Errors: ValueError for a finding that this campaign has not recorded; then none of them is counted.
    """
    seen = canonical(at)
    with store.transaction(durable=False) as db:
        for key, count in counts.items():
            updated = db.execute(
                """
                UPDATE sightings
                SET count = count + ?, last_seen = max(last_seen, ?)
                WHERE finding = ? AND campaign = ?
                """,
                [count, seen, key, campaign],
            )
            if updated.rowcount != 1:
                raise ValueError(f"campaign {campaign} has not recorded the finding {key}")


def find_finding(store: Store, prefix: str) -> StoredFinding:
    """Return the only finding whose key starts with `prefix`.

    Errors: UnknownFinding, AmbiguousFinding.
    """
    typed = prefix.lower()
    found = [finding for finding in list_findings(store) if finding.key.startswith(typed)]
    if not found or not typed:
        raise UnknownFinding(f"{store.path} has no finding whose id starts with {prefix!r}.")
    if len(found) > 1:
        shown = ", ".join(finding.id for finding in found[:3])
        rest = f" and {len(found) - 3} more" if found[3:] else ""
        raise AmbiguousFinding(f"{prefix} is the start of {len(found)} findings: {shown}{rest}.")
    return found[0]


def list_findings(
    store: Store, *, policy: str | None = None, rule: str | None = None, campaign: str | None = None
) -> list[StoredFinding]:
    """Return all findings of that policy, that rule and that campaign (by its id), the first seen first."""
    rows = store.select(
        """
        SELECT * FROM findings
        WHERE (:policy IS NULL OR policy = :policy)
          AND (:rule IS NULL OR rule = :rule)
          AND (:campaign IS NULL OR key IN (SELECT finding FROM sightings WHERE campaign = :campaign))
        ORDER BY first_seen, key
        """,
        {"policy": policy, "rule": rule, "campaign": campaign},
    )
    return [_stored(row) for row in rows]


def list_sightings(store: Store, key: str) -> list[StoredSighting]:
    """Return one row for each campaign that saw the finding with this full key, the first to see it first."""
    rows = store.select(
        """
        SELECT campaign, name, base, count, first_seen, last_seen, execution, original, runs, sightings.tool_version
        FROM sightings JOIN campaigns ON campaigns.id = campaign
        WHERE finding = ?
        ORDER BY first_seen, campaign
        """,
        [key],
    )
    return [StoredSighting(**row) for row in rows]


def _stored(row: dict[str, Any]) -> StoredFinding:
    minimum = Minimum(**{field.name: row[field.name] for field in fields(Minimum)})
    own = {field.name: row[field.name] for field in fields(StoredFinding) if field.name in row}
    return StoredFinding(minimum=minimum, **own)
