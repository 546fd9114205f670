"""The schema of the findings database."""

import sqlite3

import pytest

from shootdown.store import Store, open_store
from shootdown.store.schema import MIGRATIONS, TABLES, known_migrations
from tests.store_samples import CAMPAIGN, store_with_finding


@pytest.fixture
def store() -> Store:
    """Return a store in memory with one finding."""
    return store_with_finding(":memory:")


def test_every_table_is_strict(store: Store) -> None:
    """Every table is strict and has a primary key, and there is no other table."""
    assert {*TABLES} == {*store.db.table_names()} - {MIGRATIONS.migrations_table}
    for table in TABLES:
        assert store.db.table(table).strict, table
        assert not store.db.table(table).use_rowid, table


def test_foreign_keys_are_enforced(store: Store) -> None:
    """A row that belongs to nothing is refused."""
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        store.db.execute("DELETE FROM campaigns")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE campaigns SET status = 'lost'",
        "UPDATE campaigns SET status = 'finished'",
        "UPDATE campaigns SET ended = '2026-01-01T00:00:00.000000Z'",
        "UPDATE campaigns SET started = '2026-01-01'",
        "UPDATE campaigns SET seed = 'seven'",
        "UPDATE sightings SET count = 0",
        "UPDATE sightings SET first_seen = '2026-01-01T00:00:00Z'",
        "UPDATE minima SET key = 'short'",
    ],
)
def test_wrong_values_are_refused(store: Store, sql: str) -> None:
    """Strict types and checks refuse what the program must never write, such as a status without its end."""
    with pytest.raises(sqlite3.IntegrityError):
        store.db.execute(sql)


def test_migrations_are_applied_once(store: Store) -> None:
    """Applying the migrations again changes nothing."""
    before = list(store.db.iterdump())

    MIGRATIONS.apply(store.db)

    assert before == list(store.db.iterdump())


def test_known_migrations() -> None:
    """The names of the migrations, whose order is that of the schema's history."""
    store = open_store(":memory:", create=True)
    applied = [migration.name for migration in MIGRATIONS.applied(store.db)]

    assert applied == ["campaigns", "findings", "evidence", "proofs", "comparisons", "bases"]
    assert known_migrations() == {*applied}


def test_campaign_id_is_stored(store: Store) -> None:
    """The id of a campaign is its key in the database."""
    assert store.select("SELECT id FROM campaigns") == [{"id": CAMPAIGN.id}]
