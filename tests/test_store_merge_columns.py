"""Merging decides every column of every table."""

from dataclasses import asdict, fields, replace

import pytest

from shootdown.store import (
    Campaign,
    Point,
    Replay,
    add_corpus,
    add_series,
    end_campaign,
    record_disagreement,
    record_proof,
    record_replay,
    record_worker_event,
    start_comparison,
)
from tests.store_samples import (
    CAMPAIGN,
    COMPARISON,
    DISAGREEMENT,
    MINIMUM,
    PROOF,
    Content,
    dump,
    instant,
    merged,
    store_with_finding,
)

# The columns that may differ between two copies of a row: never its key, and never what its key was made from.
VARYING: dict[str, dict[str, object]] = {
    "campaigns": {
        "executions": 9,
        "seconds": 9.0,
        "ended": instant(9),
        "status": "failed",
        "features": 9,
        "corpus_size": 9,
        "policy_flushes": 9,
        "policy_ipis": 9,
        "policy_pages": 9,
        "reference_flushes": 9,
        "reference_ipis": 9,
        "reference_pages": 9,
    },
    "campaign_series": {
        "executions": 9,
        "rate": 9.0,
        "features": 9,
        "corpus": 9,
        "findings": 9,
        "flushes_saved": 9,
    },
    "campaign_corpus": {"position": 9},
    "minima": {"text": "other", "operations": 9, "cpus": 9, "pages": 9},
    "sightings": {
        "count": 9,
        "first_seen": instant(9),
        "last_seen": instant(9),
        "execution": 9,
        "original": b"other",
        "runs": 9,
        "tool_version": "other",
    },
    "traces": {
        "at": instant(9),
        "tool_version": "other",
        "steps": "other",
        "history": "other",
        "open_operations": "other",
    },
    "proofs": {
        "scope": "other",
        "bound": "other",
        "verdict": "undecided",
        "complete": 9,
        "worlds": 999,
        "transitions": 999,
        "seconds": 9.0,
        "why": "other",
        "finding": None,
    },
    "comparisons": {
        "ended": instant(9),
        "sequences": 9,
        "operations": 9,
        "accesses": 9,
        "seconds": 9.0,
        "explained": "other",
        "tool_version": "other",
        "python": "other",
        "left_out": "other",
    },
    "disagreement_sightings": {"count": 9, "first_seen": instant(9), "last_seen": instant(9)},
}


def one_of_each(*, running: bool) -> Content:
    """Return one row in every table; the campaign is still running, or has finished."""
    with store_with_finding(":memory:") as store:
        if not running:
            end_campaign(store, CAMPAIGN.id, status="finished", ended=instant(5))
        add_series(store, CAMPAIGN.id, [Point(1.0, 1, 1.0, 1, 1, 1, 1)])
        add_corpus(store, CAMPAIGN.id, [b"a"])
        record_worker_event(store, CAMPAIGN.id, at=instant(1), worker=0, what="died")
        replay = Replay(MINIMUM.key, instant(2), "v1", "1", "legal", "", "", reproduced=False)
        record_replay(store, replay)
        record_proof(store, replace(PROOF, finding=MINIMUM.key))
        start_comparison(store, COMPARISON)
        record_disagreement(store, COMPARISON.id, DISAGREEMENT, instant(3))
        return dump(store)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table in VARYING for column in VARYING[table]]
)
def test_every_column_is_decided(table: str, column: str, *, running: bool) -> None:
    """Of two rows that differ in one column only, the same one wins whichever is merged into the other."""
    a, b = one_of_each(running=running), one_of_each(running=running)
    b[table][0][column] = VARYING[table][column]
    if running and column in ("ended", "status"):
        b["campaigns"][0] |= {"ended": instant(9), "status": "failed"}

    assert a != b
    assert merged(a, b) == merged(b, a)
    assert merged(a, b) in (merged(a), merged(b))


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("campaigns", "executions"),
        ("campaign_series", "executions"),
        ("sightings", "count"),
        ("proofs", "transitions"),
        ("comparisons", "sequences"),
        ("disagreement_sightings", "count"),
    ],
)
def test_the_copy_that_is_further_on_wins(table: str, column: str) -> None:
    """Of two copies of a figure that still grows, the one with the greater count stays."""
    a, b = one_of_each(running=True), one_of_each(running=True)
    b[table][0][column] = VARYING[table][column]

    assert merged(a, b) == merged(b, a) == merged(b)


def test_no_column_is_forgotten() -> None:
    """The columns that are not in VARYING are keys, or what keys are made from."""
    fixed = {
        table: {*rows[0]} - {*VARYING.get(table, {})}
        for table, rows in one_of_each(running=True).items()
    }
    campaign = {field.name for field in fields(Campaign)}

    assert all(len(rows) == 1 for rows in one_of_each(running=True).values())
    assert fixed == {
        "campaigns": campaign | {"id"},
        "campaign_series": {"campaign", "at"},
        "campaign_corpus": {"campaign", "sha256", "scenario"},
        "worker_events": {"campaign", "at", "worker", "what", "detail"},
        "minima": {"key", "policy", "rule", "reason", "skip", "scenario"},
        "sightings": {"finding", "campaign"},
        "traces": {"finding"},
        "proofs": {"campaign"},
        "comparisons": {"id", "kind", "seed", "machine", "started"},
        "disagreements": {"key", *asdict(DISAGREEMENT)},
        "disagreement_sightings": {"disagreement", "comparison"},
        "replays": {*asdict(Replay("", "", "", "", "legal", "", "", reproduced=True))},
    }
