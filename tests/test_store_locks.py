"""Findings databases that another process holds."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import shootdown.store.open
from shootdown.store import open_store, start_campaign
from shootdown.store.errors import StoreLocked
from tests.store_samples import CAMPAIGN, store_with_finding


def test_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that another process holds for too long is StoreLocked, when opened and when written."""
    monkeypatch.setattr(shootdown.store.open, "BUSY_SECONDS", 0.05)
    path = tmp_path / "findings.db"
    store = open_store(path, create=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreLocked, match="locked by another process"):
            open_store(path, create=False)
        with pytest.raises(StoreLocked, match="locked by another process"):
            start_campaign(store, CAMPAIGN)

        other.execute("ROLLBACK")
    start_campaign(store, CAMPAIGN)


def test_reader_of_a_store_without_wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that another tool took out of WAL mode is put back; while it is read, it is StoreLocked."""
    monkeypatch.setattr(shootdown.store.open, "BUSY_SECONDS", 0.05)
    path = tmp_path / "findings.db"
    store_with_finding(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = delete")
        other.execute("BEGIN")
        other.execute("SELECT * FROM findings").fetchall()

        with pytest.raises(StoreLocked, match="locked by another process"):
            open_store(path, create=False)

        other.execute("COMMIT")
    assert open_store(path, create=False).db.journal_mode == "wal"


def test_reading_while_another_writes(tmp_path: Path) -> None:
    """A store can be opened and read while another process is in the middle of a write."""
    path = tmp_path / "findings.db"
    store_with_finding(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        store = open_store(path, create=False, readonly=True)

        assert store.select("SELECT count(*) AS n FROM findings") == [{"n": 1}]
        other.execute("ROLLBACK")
