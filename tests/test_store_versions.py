"""Findings databases of other versions of the program, and damaged ones."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.store import find_campaign, open_store, start_campaign
from shootdown.store.errors import StoreDamaged, StoreNewer, StoreOlder
from shootdown.store.schema import MIGRATIONS
from tests.store_samples import CAMPAIGN, instant, store_with_finding


def edit(path: Path, sql: str) -> None:
    """Run SQL on the file, as a user with another tool does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)


@pytest.mark.parametrize("readonly", [False, True])
def test_newer(tmp_path: Path, *, readonly: bool) -> None:
    """A schema with a migration that this program lacks is StoreNewer, named in the sentence, and stays as it is."""
    path = tmp_path / "findings.db"
    store_with_finding(path).close()
    edit(
        path,
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
        " VALUES ('shootdown', 'colours', '2030')",
    )
    before = path.read_bytes()

    with pytest.raises(StoreNewer, match="newer shootdown: its schema has colours"):
        open_store(path, create=False, readonly=readonly)

    assert before == path.read_bytes()


def test_other_migration_sets_are_nobodys_business(tmp_path: Path) -> None:
    """A plugin of sqlite-utils may keep its own migrations in the file."""
    path = tmp_path / "findings.db"
    store_with_finding(path).close()
    edit(
        path,
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
        " VALUES ('notes', 'first', '2030')",
    )

    open_store(path, create=False)


def older(path: Path) -> None:
    """Make a store from before the last migration."""
    store = open_store(path, create=True)
    store.db.execute("DROP TABLE replays")
    store.db.execute("DROP TABLE traces")
    store.db.execute("DELETE FROM _sqlite_migrations WHERE name = 'evidence'")
    store.close()


def test_older_is_updated(tmp_path: Path) -> None:
    """Opening an older store for writing gives it what it lacks."""
    older(tmp_path / "findings.db")

    store = open_store(tmp_path / "findings.db", create=False)

    assert MIGRATIONS.pending(store.db) == []
    assert store.db.table("replays").exists()


def test_campaign_from_before_there_were_bases(tmp_path: Path) -> None:
    """A campaign of an older store has no base; a newer one of the same store keeps its own."""
    path = tmp_path / "findings.db"
    store_with_finding(path).close()
    for column in ("base", "base_version"):
        edit(path, f"ALTER TABLE campaigns DROP COLUMN {column}")
    edit(path, "DELETE FROM _sqlite_migrations WHERE name = 'bases'")

    store = open_store(path, create=False)
    newer = replace(CAMPAIGN, name="newer", base="mine", base_version="mine.py@1")
    start_campaign(store, newer)

    assert find_campaign(store, "night").campaign.base == ""
    assert find_campaign(store, "newer").campaign == replace(newer, started=instant(0))


def test_older_for_reading(tmp_path: Path) -> None:
    """Opening an older store for reading only is StoreOlder, and it stays older."""
    path = tmp_path / "findings.db"
    older(path)
    before = path.read_bytes()

    with pytest.raises(StoreOlder, match="older shootdown"):
        open_store(path, create=False, readonly=True)

    assert before == path.read_bytes()


@pytest.mark.parametrize("readonly", [False, True])
def test_lost_table(tmp_path: Path, *, readonly: bool) -> None:
    """A store from which another tool dropped a table is StoreDamaged, with the table's name."""
    path = tmp_path / "findings.db"
    store_with_finding(path).close()
    edit(path, "DROP TABLE worker_events")

    with pytest.raises(StoreDamaged, match="lacks the table worker_events"):
        open_store(path, create=False, readonly=readonly)


def test_damaged_pages(tmp_path: Path) -> None:
    """A store whose pages were overwritten is StoreDamaged, not a traceback."""
    path = tmp_path / "findings.db"
    store_with_finding(path).close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))

    with pytest.raises(StoreDamaged, match="is damaged"):
        open_store(path, create=False)
