"""Campaigns in the findings database."""

from dataclasses import replace

import pytest

from shootdown.store import (
    Point,
    Store,
    StoredCampaign,
    Totals,
    add_series,
    end_campaign,
    find_campaign,
    list_campaigns,
    open_store,
    record_finding,
    record_worker_event,
    save_totals,
    start_campaign,
)
from shootdown.store.errors import UnknownCampaign
from tests.store_samples import CAMPAIGN, EVIDENCE, MINIMUM, instant, minimum, sighting

TOTALS = Totals(
    executions=1000,
    seconds=2.5,
    features=300,
    corpus_size=40,
    policy_flushes=10,
    policy_ipis=11,
    policy_pages=12,
    reference_flushes=100,
    reference_ipis=110,
    reference_pages=120,
)


@pytest.fixture
def store() -> Store:
    """Return an empty store in memory."""
    return open_store(":memory:", create=True)


def test_started(store: Store) -> None:
    """A campaign that was started is running, with the values it was started with and no executions."""
    key = start_campaign(store, CAMPAIGN)

    assert list_campaigns(store) == [
        StoredCampaign(
            id=key,
            campaign=replace(CAMPAIGN, started=instant(0)),
            totals=Totals(),
            status="running",
            ended=None,
            findings=0,
        )
    ]


def test_totals_replace_each_other(store: Store) -> None:
    """The totals are those saved last."""
    key = start_campaign(store, CAMPAIGN)

    save_totals(store, key, replace(TOTALS, executions=1))
    save_totals(store, key, TOTALS)

    assert find_campaign(store, key).totals == TOTALS


def test_ended(store: Store) -> None:
    """A campaign that has ended has its status, its end and its last totals."""
    key = start_campaign(store, CAMPAIGN)

    end_campaign(store, key, status="interrupted", ended="2026-01-01T00:01:00+00:00", totals=TOTALS)

    ended = find_campaign(store, key)
    assert (ended.status, ended.ended, ended.totals) == ("interrupted", instant(60), TOTALS)


def test_ended_without_totals(store: Store) -> None:
    """Ending a campaign without totals, as after a kill, keeps those that it saved itself."""
    key = start_campaign(store, CAMPAIGN)
    save_totals(store, key, TOTALS)

    end_campaign(store, key, status="interrupted", ended=instant(60))

    assert find_campaign(store, key).totals == TOTALS


def test_findings_are_counted(store: Store) -> None:
    """The number of findings is that of the different ones that the campaign saw, without an explicit save."""
    key = start_campaign(store, CAMPAIGN)
    for seen in [MINIMUM, MINIMUM, minimum(1)]:
        record_finding(store, seen, sighting(key), EVIDENCE)

    assert find_campaign(store, key).findings == 2


def test_last_of_a_name(store: Store) -> None:
    """A name stands for the last campaign started under it; an id for exactly one."""
    first = start_campaign(store, CAMPAIGN)
    last = start_campaign(store, replace(CAMPAIGN, started=instant(2)))
    start_campaign(store, replace(CAMPAIGN, started=instant(1)))
    start_campaign(store, replace(CAMPAIGN, name="other", started=instant(3)))

    assert find_campaign(store, "night").id == last
    assert find_campaign(store, first).id == first
    assert [stored.campaign.started for stored in list_campaigns(store)] == [
        instant(second) for second in (3, 2, 1, 0)
    ]


def test_unknown_name(store: Store) -> None:
    """A name that no campaign has is UnknownCampaign."""
    with pytest.raises(UnknownCampaign, match="has no campaign named day"):
        find_campaign(store, "day")


def test_id_tells_campaigns_apart() -> None:
    """The id differs when name, policy, seed or start differ, and does not depend on how the start is written."""
    others = [
        replace(CAMPAIGN, name="day"),
        replace(CAMPAIGN, policy="v3"),
        replace(CAMPAIGN, seed=8),
        replace(CAMPAIGN, started=instant(1)),
    ]

    assert len({CAMPAIGN.id, *(other.id for other in others)}) == 5
    assert replace(CAMPAIGN, started="2026-01-01T00:00:00+00:00").id == CAMPAIGN.id


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_out_of_range(store: Store, seed: int) -> None:
    """A seed that SQLite cannot hold is a ValueError, and nothing is stored."""
    with pytest.raises(ValueError, match="a seed lies between"):
        start_campaign(store, replace(CAMPAIGN, seed=seed))

    assert list_campaigns(store) == []


def test_largest_seed(store: Store) -> None:
    """The largest seed comes back as it was."""
    key = start_campaign(store, replace(CAMPAIGN, seed=2**63 - 1))

    assert find_campaign(store, key).campaign.seed == 2**63 - 1


def test_series(store: Store) -> None:
    """Every point is stored; a second one for an instant replaces the first."""
    key = start_campaign(store, CAMPAIGN)
    point = Point(1.5, 100, 66.7, 10, 5, 0, 90)

    add_series(store, key, [point, replace(point, at=2.0)])
    add_series(store, key, [replace(point, executions=101)])
    add_series(store, key, [])

    assert store.select("SELECT at, executions FROM campaign_series ORDER BY at") == [
        {"at": 1.5, "executions": 101},
        {"at": 2.0, "executions": 100},
    ]


def test_worker_events(store: Store) -> None:
    """Every event of a worker is stored, once."""
    key = start_campaign(store, CAMPAIGN)

    record_worker_event(store, key, at=instant(1), worker=0, what="died", detail="signal 11")
    record_worker_event(store, key, at=instant(1), worker=0, what="died", detail="signal 11")
    record_worker_event(store, key, at=instant(1), worker=0, what="replaced")

    assert store.select("SELECT at, worker, what, detail FROM worker_events ORDER BY what") == [
        {"at": instant(1), "worker": 0, "what": "died", "detail": "signal 11"},
        {"at": instant(1), "worker": 0, "what": "replaced", "detail": ""},
    ]
