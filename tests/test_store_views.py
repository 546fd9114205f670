"""The named views of a findings database."""

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.store import (
    VIEWS,
    Point,
    Reach,
    Replay,
    Store,
    Totals,
    add_series,
    end_campaign,
    list_comparisons,
    open_store,
    record_disagreement,
    record_finding,
    record_proof,
    record_replay,
    record_worker_event,
    run_view,
    save_reach,
    start_campaign,
    start_comparison,
)
from shootdown.store.errors import QueryFailed, UnknownView
from tests.store_samples import (
    CAMPAIGN,
    COMPARISON,
    DISAGREEMENT,
    EVIDENCE,
    MINIMUM,
    PROOF,
    instant,
    minimum,
    sighting,
)

DAY = replace(CAMPAIGN, name="day", policy="v3", engine="random", started=instant(100))
LONG = minimum(1, operations=3, skip="clean-write")
OTHER = minimum(2, policy="v3", rule="C1", reason="stale-grant", operations=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return two campaigns with three findings and a comparison that disagrees, open for reading only."""
    path = tmp_path / "findings.db"
    with open_store(path, create=True) as store:
        night, day = start_campaign(store, CAMPAIGN), start_campaign(store, DAY)
        for seen, campaign, second in [
            (MINIMUM, night, 1),
            (LONG, night, 2),
            (MINIMUM, night, 3),
            (OTHER, day, 110),
        ]:
            record_finding(store, seen, sighting(campaign, second), EVIDENCE)
        totals = Totals(
            executions=1000, seconds=4.0, features=30, policy_flushes=25, reference_flushes=100
        )
        end_campaign(store, night, status="finished", ended=instant(60), totals=totals)
        add_series(store, night, [Point(at, 100, 50.0, 1, 1, 0, 9) for at in (2.0, 1.0)])
        add_series(store, day, [Point(1.0, 200, 60.0, 1, 1, 0, 9)])
        record_worker_event(store, night, at=instant(5), worker=1, what="hung", detail="10 s")
        record_worker_event(store, day, at=instant(105), worker=0, what="died")
        record_proof(store, replace(PROOF, finding=MINIMUM.key))
        record_proof(store, replace(PROOF, campaign=day, verdict="undecided", why="interrupted"))
        record_disagreement(store, start_comparison(store, COMPARISON), DISAGREEMENT, instant(3))
        replay = Replay(
            MINIMUM.key, instant(20), "v1", "0.1.0", "illegal", "C2", "denied", reproduced=True
        )
        gone = replace(replay, verdict="legal", rule="", reason="", reproduced=False)
        for one in [
            replay,
            replace(gone, at=instant(10)),
            replace(gone, finding=LONG.key, at=instant(30)),
            replace(replay, finding=LONG.key, at=instant(25)),
        ]:
            record_replay(store, one)
    return open_store(path, create=False, readonly=True)


def shown(
    store: Store, name: str, *columns: str, **parameters: str | int
) -> list[tuple[object, ...]]:
    """Return some columns of a view."""
    result = run_view(store, name, {**parameters})
    places = [result.columns.index(column) for column in columns]
    return [tuple(row[place] for place in places) for row in result.rows]


def test_every_view_runs(store: Store, tmp_path: Path) -> None:
    """Every view has a description in one line that names its parameters, distinct columns, rows of a full store, and
    no rows of an empty one.
    """
    open_store(tmp_path / "empty.db", create=True).close()
    empty = open_store(tmp_path / "empty.db", create=False, readonly=True)

    for name, view in VIEWS.items():
        columns = run_view(store, name).columns

        assert view.description
        assert "\n" not in view.description
        assert len({*columns}) == len(columns)
        assert all(f"{parameter}=" in view.description for parameter in view.parameters)
        assert run_view(store, name).rows != []
        assert run_view(empty, name).columns == columns
        assert run_view(empty, name).rows == []


def test_by_rule(store: Store) -> None:
    """The view has each rule and reason with its findings and sightings."""
    assert shown(store, "by-rule", "rule", "reason", "findings", "sightings", "shortest") == [
        ("C2", "denied-though-allowed", 2, 3, 1),
        ("C1", "stale-grant", 1, 1, 2),
    ]


def test_by_policy(store: Store) -> None:
    """The view has each policy with its campaigns, findings and the share of the flushes that it saved."""
    assert shown(
        store, "by-policy", "policy", "executions", "findings", "sightings", "flushes_saved_percent"
    ) == [("v1", 1000, 2, 3, 75.0), ("v3", 0, 1, 1, None)]


def test_by_skip(store: Store) -> None:
    """The view has each guilty skip with the policies that take it."""
    assert shown(store, "by-skip", "skip", "findings", "policies") == [
        ("nx-cleared", 2, "v1,v3"),
        ("clean-write", 1, "v1"),
    ]


def test_recent(store: Store) -> None:
    """The last seen finding comes first, and there are as many as requested."""
    ids = [(one.key[:16],) for one in (OTHER, MINIMUM, LONG)]

    assert shown(store, "recent", "id") == ids
    assert shown(store, "recent", "id", limit=1) == ids[:1]
    assert shown(store, "recent", "id", limit="2") == ids[:2]


def test_shortest(store: Store) -> None:
    """The finding with the fewest operations comes first."""
    assert shown(store, "shortest", "operations", "policy") == [(1, "v1"), (2, "v3"), (3, "v1")]


def test_campaigns(store: Store) -> None:
    """The last campaign comes first, with its rate and the number of its findings."""
    assert shown(store, "campaigns", "name", "status", "executions", "rate", "findings") == [
        ("day", "running", 0, None, 1),
        ("night", "finished", 1000, 250.0, 2),
    ]


def test_rate(store: Store) -> None:
    """The time series is in order, for all campaigns or for one by name or id."""
    night = [("night", 1.0, 50.0), ("night", 2.0, 50.0)]

    assert shown(store, "rate", "name", "at", "rate") == [*night, ("day", 1.0, 60.0)]
    assert shown(store, "rate", "name", "at", "rate", campaign="night") == night
    assert shown(store, "rate", "name", "at", "rate", campaign=CAMPAIGN.id) == night
    assert shown(store, "rate", "name", "at", "rate", campaign="none") == []


def test_engines(store: Store) -> None:
    """The view has each engine and policy with the executions to the first finding."""
    assert shown(store, "engines", "engine", "policy", "fewest_executions_to_find") == [
        ("atheris", "v1", 1001),
        ("random", "v3", 1110),
    ]


def test_stale(store: Store) -> None:
    """Only a finding whose last replay did not reproduce it is shown, whatever earlier replays showed."""
    assert shown(store, "stale", "id", "verdict", "replayed") == [
        (LONG.key[:16], "legal", instant(30))
    ]


def test_workers(store: Store) -> None:
    """The events are in order, for all campaigns or for one."""
    assert shown(store, "workers", "name", "worker", "what", "detail") == [
        ("night", 1, "hung", "10 s"),
        ("day", 0, "died", ""),
    ]
    assert shown(store, "workers", "what", campaign="day") == [("died",)]


def test_proofs(store: Store) -> None:
    """The view has each proof with its policy and version, the newest first."""
    assert shown(
        store, "proofs", "policy", "version", "verdict", "operations", "why", "finding"
    ) == [
        ("v3", "1", "undecided", 2, "interrupted", None),
        ("v1", "1", "illegal", 2, "", MINIMUM.key[:16]),
    ]


def test_comparisons(tmp_path: Path) -> None:
    """The view has each comparison with its figures, and how many disagreements it saw."""
    path = tmp_path / "other.db"
    store = open_store(path, create=True)
    start_comparison(store, COMPARISON)
    record_disagreement(store, COMPARISON.id, DISAGREEMENT, instant(3))
    save_reach(store, COMPARISON.id, Reach(5, 100, 60, 2.5), instant(9))

    store = open_store(path, create=False, readonly=True)
    assert shown(store, "comparisons", "kind", "sequences", "accesses", "disagreements") == [
        ("live", 5, 60, 1)
    ]
    assert [one.ended for one in list_comparisons(store)] == [instant(9)]
    assert [one.comparison for one in list_comparisons(store)] == [
        replace(COMPARISON, started=instant(0))
    ]


def test_disagreements(tmp_path: Path) -> None:
    """The view has each disagreement once, with both sides and how often it was seen."""
    path = tmp_path / "other.db"
    store = open_store(path, create=True)
    start_comparison(store, COMPARISON)
    assert record_disagreement(store, COMPARISON.id, DISAGREEMENT, instant(3))
    assert not record_disagreement(store, COMPARISON.id, DISAGREEMENT, instant(4))

    store = open_store(path, create=False, readonly=True)
    assert shown(store, "disagreements", "id", "model", "other", "count", "last_seen") == [
        (DISAGREEMENT.key[:16], "MAPERR", "DONE 1", 2, instant(4))
    ]


def test_unknown_view(store: Store) -> None:
    """A name that no view has is UnknownView, which lists the existing ones."""
    with pytest.raises(
        UnknownView, match=r"^There is no view rates; there are by-rule, .*proofs\.$"
    ):
        run_view(store, "rates")


def test_unknown_parameter(store: Store) -> None:
    """A parameter that the view does not have is UnknownView, which names those that it has."""
    with pytest.raises(
        UnknownView, match=r"rate has no parameter limit; its only ones are campaign\.$"
    ):
        run_view(store, "rate", {"limit": 1})
    with pytest.raises(UnknownView, match=r"stale has no parameter limit; it has none\.$"):
        run_view(store, "stale", {"limit": 1})


def test_bad_value(store: Store) -> None:
    """A limit that is not a number is QueryFailed."""
    with pytest.raises(QueryFailed, match="datatype mismatch"):
        run_view(store, "recent", {"limit": "many"})
