"""Merging one findings database into another."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.store import (
    Merged,
    Store,
    Totals,
    end_campaign,
    find_campaign,
    list_findings,
    load_trace,
    merge,
    open_store,
    record_finding,
    save_totals,
    start_campaign,
)
from shootdown.store.errors import MergeConflict, StoreDamaged, StoreReadOnly
from shootdown.store.schema import TABLES
from tests.store_samples import (
    CAMPAIGN,
    EVIDENCE,
    MINIMUM,
    instant,
    minimum,
    sighting,
    store_with_finding,
)


def content(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table, in an order of its own."""
    return {
        table: sorted((tuple(row.values()) for row in store.db.table(table).rows), key=repr)
        for table in TABLES
    }


def test_one_bug_on_two_machines(tmp_path: Path) -> None:
    """A finding that two databases have is one row afterwards, with the sum of the counts and both dates."""
    here = store_with_finding(tmp_path / "here.db")
    there = open_store(tmp_path / "there.db", create=True)
    day = start_campaign(there, replace(CAMPAIGN, name="day"))
    record_finding(there, MINIMUM, sighting(day, 30), EVIDENCE)
    record_finding(there, MINIMUM, sighting(day, 40), EVIDENCE)
    record_finding(there, minimum(1), sighting(day, 50), EVIDENCE)

    merged = merge(here, there)

    assert merged == Merged(campaigns=1, findings=1, sightings=2, replays=0)
    both, new = list_findings(here)
    assert (both.count, both.campaigns) == (3, 2)
    assert (both.first_seen, both.last_seen) == (instant(1), instant(40))
    assert new.key == minimum(1).key
    assert load_trace(here, new.key)


def test_copies_of_one_campaign(tmp_path: Path) -> None:
    """Merging an old copy of a campaign's database changes nothing; merging a later one brings it up to date."""
    later = store_with_finding(tmp_path / "later.db")
    earlier = open_store(tmp_path / "earlier.db", create=True)
    merge(earlier, later)
    record_finding(later, MINIMUM, sighting(CAMPAIGN.id, 2), EVIDENCE)
    save_totals(later, CAMPAIGN.id, Totals(executions=10))
    end_campaign(later, CAMPAIGN.id, status="finished", ended=instant(60))
    before = content(later)

    merge(later, earlier)

    assert before == content(later)

    merge(earlier, later)

    assert before == content(earlier)
    assert find_campaign(earlier, CAMPAIGN.id).status == "finished"


def test_into_itself(tmp_path: Path) -> None:
    """Merging a database into itself, through one connection or two, changes nothing."""
    store = store_with_finding(tmp_path / "findings.db")
    again = open_store(tmp_path / "findings.db", create=False, readonly=True)
    before = content(store)

    for source in (store, again):
        assert merge(store, source) == Merged(0, 0, 0, 0)

    assert before == content(store)


def test_source_stays(tmp_path: Path) -> None:
    """The source is only read."""
    source = store_with_finding(tmp_path / "source.db")
    before = content(source)

    merge(open_store(":memory:", create=True), source)

    assert before == content(source)
    assert not source.db.conn.in_transaction


def test_into_a_reader(tmp_path: Path) -> None:
    """Merging into a store that is open for reading only is StoreReadOnly."""
    store_with_finding(tmp_path / "findings.db").close()
    into = open_store(tmp_path / "findings.db", create=False, readonly=True)

    with pytest.raises(StoreReadOnly):
        merge(into, store_with_finding(":memory:"))


def test_campaigns_that_contradict() -> None:
    """One id with different settings is MergeConflict, which names the field; nothing is merged."""
    into = store_with_finding(":memory:")
    source = store_with_finding(":memory:")
    record_finding(source, minimum(1), sighting(CAMPAIGN.id), EVIDENCE)
    source.db.execute("UPDATE campaigns SET engine = 'random'")
    before = content(into)

    with pytest.raises(MergeConflict, match=r"has engine atheris in .* random in .*nothing was"):
        merge(into, source)

    assert before == content(into)


def test_finding_that_is_not_what_its_key_says() -> None:
    """A source whose finding was edited is StoreDamaged; nothing is merged."""
    into = open_store(":memory:", create=True)
    source = store_with_finding(":memory:")
    source.db.execute("UPDATE minima SET rule = 'C1'")

    with pytest.raises(StoreDamaged, match="is not what its key says"):
        merge(into, source)

    assert not any(content(into).values())


def test_orphans(tmp_path: Path) -> None:
    """A source from which another tool deleted a campaign is StoreDamaged; nothing is merged."""
    into = open_store(":memory:", create=True)
    store_with_finding(tmp_path / "source.db").close()
    with closing(sqlite3.connect(tmp_path / "source.db")) as other, other:
        other.execute("DELETE FROM campaigns")

    with pytest.raises(StoreDamaged, match=r"contradicts itself .*nothing was merged"):
        merge(into, open_store(tmp_path / "source.db", create=False, readonly=True))

    assert not any(content(into).values())
