"""Campaigns: what was run, with what, how far it got, and how it ended."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from shootdown.store.errors import CampaignExists, UnknownCampaign
from shootdown.store.open import Store
from shootdown.store.timestamps import canonical

Ending = Literal["finished", "interrupted", "failed"]
Status = Literal["running"] | Ending

_LARGEST_SEED: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is known when a campaign starts.

    `limits`: what is to stop it.
    `started`: an ISO-8601 time in UTC.
    `base`, `base_version`: the policy that the other is held against, "" for none.
    """

    name: str
    policy: str
    policy_version: str
    tool_version: str
    python: str
    engine: str
    seed: int
    limits: Mapping[str, object]
    workers: int
    started: str
    base: str = ""
    base_version: str = ""

    @property
    def id(self) -> str:
        """Return 32 hex digits made from name, policy, seed and start; they are the same in every database."""
        parts = [self.name, self.policy, str(self.seed), canonical(self.started)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Totals:
    """How far a campaign got. Flushes, IPIs and invalidated pages are sums over the executions of both models."""

    executions: int = 0
    seconds: float = 0.0
    features: int = 0
    corpus_size: int = 0
    policy_flushes: int = 0
    policy_ipis: int = 0
    policy_pages: int = 0
    reference_flushes: int = 0
    reference_ipis: int = 0
    reference_pages: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a campaign's time series.

    `at`: seconds since the start of the campaign.
    `rate`: executions per second.
    """

    at: float
    executions: int
    rate: float
    features: int
    corpus: int
    findings: int
    flushes_saved: int


@dataclass(frozen=True, slots=True)
class StoredCampaign:
    """A campaign as the store has it; `findings` counts the different ones that it saw, and is always up to date.

    A campaign whose process was killed stays "running" until a later command asks store.leases.
    """

    id: str
    campaign: Campaign
    totals: Totals
    status: Status
    ended: str | None
    findings: int


def start_campaign(store: Store, campaign: Campaign, *, unique: bool = False) -> str:
    """Store the campaign durably as running, and return its id.

    Errors: CampaignExists, with `unique`, when the store has a campaign of that name; ValueError for a seed that
    SQLite's 64-bit signed integers cannot hold.
    """
    if not 0 <= campaign.seed <= _LARGEST_SEED:
        raise ValueError(f"a seed lies between 0 and {_LARGEST_SEED}")
    row = asdict(campaign) | {
        "id": campaign.id,
        "limits": json.dumps(dict(campaign.limits), sort_keys=True),
        "started": canonical(campaign.started),
        "status": "running",
        **asdict(Totals()),
    }
    with store.transaction() as db:
        if unique and db.table("campaigns").count_where("name = ?", [campaign.name]):
            raise CampaignExists(
                f"{store.path} has a campaign named {campaign.name} already: give another name, or go on with it:"
                f" --resume {shlex.quote(campaign.name)}."
            )
        db.table("campaigns").insert(row)
    return campaign.id


def save_totals(store: Store, campaign: str, totals: Totals) -> None:
    """Store the totals of the campaign.

    A power cut may take back the last calls.
    """
    with store.transaction(durable=False) as db:
        db.table("campaigns").update(campaign, asdict(totals))


def end_campaign(
    store: Store, campaign: str, *, status: Ending, ended: str, totals: Totals | None = None
) -> None:
    """Store the campaign durably as ended.

    Without `totals` the last saved ones stay, as for a campaign that was killed.
    """
    row = {"status": status, "ended": canonical(ended)} | (asdict(totals) if totals else {})
    with store.transaction() as db:
        db.table("campaigns").update(campaign, row)


def add_series(store: Store, campaign: str, points: Iterable[Point]) -> None:
    """Store all the points; a second point for the same instant replaces the first.

    A power cut may take back the last calls.
    """
    rows = [{"campaign": campaign} | asdict(point) for point in points]
    with store.transaction(durable=False) as db:
        db.table("campaign_series").upsert_all(rows)


def find_campaign(store: Store, name: str) -> StoredCampaign:
    """Return the campaign with that id, or else the last one started under that name.

    Errors: UnknownCampaign.
    """
    campaigns = list_campaigns(store)
    for stored in campaigns:
        if stored.id == name:
            return stored
    for stored in campaigns:
        if stored.campaign.name == name:
            return stored
    raise UnknownCampaign(f"{store.path} has no campaign named {name}.")


def list_campaigns(store: Store) -> list[StoredCampaign]:
    """Return all campaigns, the last started first."""
    rows = store.select("""
        SELECT campaigns.*,
               (SELECT count(*) FROM sightings WHERE campaign = campaigns.id) AS findings
        FROM campaigns
        ORDER BY started DESC, id
    """)
    return [_stored(row) for row in rows]


def _stored(row: dict[str, Any]) -> StoredCampaign:
    row["limits"] = json.loads(row["limits"])
    return StoredCampaign(
        id=row["id"],
        campaign=Campaign(**{field.name: row[field.name] for field in fields(Campaign)}),
        totals=Totals(**{field.name: row[field.name] for field in fields(Totals)}),
        status=row["status"],
        ended=row["ended"],
        findings=row["findings"],
    )
