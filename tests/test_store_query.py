"""Raw SQL on a findings database."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shootdown.store import Rows, Store, open_store, query
from shootdown.store.errors import QueryFailed, QueryRefused
from tests.store_samples import MINIMUM, store_with_finding


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store with one finding, open for reading only."""
    store_with_finding(tmp_path / "findings.db").close()
    return open_store(tmp_path / "findings.db", create=False, readonly=True)


def test_select(store: Store) -> None:
    """A SELECT gives its columns and its rows; values are what SQLite says they are."""
    rows = query(store, "SELECT rule, scenario, 1.5, NULL, count FROM findings")

    assert rows == Rows(
        ("rule", "scenario", "1.5", "NULL", "count"), [("C2", MINIMUM.scenario, 1.5, None, 1)]
    )


def test_no_rows(store: Store) -> None:
    """Without rows the columns are still there."""
    assert query(store, "SELECT id FROM findings WHERE 0") == Rows(("id",), [])


def test_parameters(store: Store) -> None:
    """Parameters are given by position or by name."""
    where = "SELECT count(*) FROM findings WHERE rule = "

    assert query(store, where + "?", ["C2"]).rows == [(1,)]
    assert query(store, where + ":rule", {"rule": "C1"}).rows == [(0,)]


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT i FROM n",
        "EXPLAIN QUERY PLAN SELECT * FROM findings",
        "PRAGMA table_info(sightings)",
        "SELECT name FROM pragma_table_info('sightings')",
        "SELECT name FROM sqlite_schema",
        "SELECT value FROM traces, json_each(steps)",
        "  -- a comment\n SELECT 1;",
        "VALUES (1), (2)",
    ],
)
def test_reading_is_allowed(store: Store, sql: str) -> None:
    """SQL that only reads is run."""
    assert query(store, sql).rows


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO replays SELECT * FROM replays",
        "UPDATE minima SET rule = 'C1'",
        "DELETE FROM traces",
        "WITH gone AS (SELECT 1) DELETE FROM traces",
        "DELETE FROM findings",
        "UPDATE sqlite_master SET sql = ''",
        "UPDATE sqlite_schema SET sql = ''",
        "DELETE FROM sqlite_master",
        "DROP TABLE traces",
        "CREATE TABLE t (a)",
        "CREATE TEMP TABLE t (a)",
        "CREATE VIEW v AS SELECT 1",
        "ALTER TABLE traces ADD COLUMN a",
        "REINDEX",
        "ANALYZE",
        "VACUUM",
        "VACUUM INTO 'copy.db'",
        "ATTACH 'other.db' AS other",
        "DETACH main",
        "BEGIN IMMEDIATE",
        "SAVEPOINT s",
        "COMMIT",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA user_version = 1",
        "PRAGMA writable_schema = ON",
        "SELECT * FROM findings; DELETE FROM traces",
    ],
)
def test_everything_else_is_refused(
    store: Store, sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQL that could change the database, another file or the connection has no effect, and is a one-line error."""
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises((QueryRefused, QueryFailed)) as error:
        query(store, sql)

    assert "\n" not in str(error.value)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert query(store, "SELECT count(*) FROM traces").rows == [(1,)]


def test_refusal_says_why(store: Store) -> None:
    """A write is QueryRefused, whose sentence says what is run."""
    with pytest.raises(QueryRefused, match="only SQL that reads the findings database is run"):
        query(store, "DELETE FROM sightings")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM lost", "no such table: lost"),
        ("SELECT ?", "supplied"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT CAST(x'ff' AS TEXT)", "UTF-8"),
        ("SELECT abs(-9223372036854775808)", "integer overflow"),
        ("", "no statement"),
        ("-- only a comment", "no statement"),
    ],
)
def test_bad_sql(store: Store, sql: str, words: str) -> None:
    """SQL that SQLite does not accept is QueryFailed with its words."""
    with pytest.raises(QueryFailed, match=words):
        query(store, sql)


def test_store_that_can_write(tmp_path: Path) -> None:
    """Raw SQL is not run on a connection that could write."""
    with pytest.raises(ValueError, match="open for reading only"):
        query(store_with_finding(tmp_path / "findings.db"), "SELECT 1")


def test_interrupt(store: Store) -> None:
    """Ctrl-C ends an endless query.

    It comes from another process, as from a terminal: while a second thread of the same process ends, CPython 3.11 may
    forget that a signal is pending.
    """
    code = """
import sys
from shootdown.store import open_store, query
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT max(i) FROM n"
with open_store(sys.argv[1], create=False, readonly=True) as store:
    try:
        print("ready", flush=True)
        query(store, ENDLESS)
    except KeyboardInterrupt:
        print(query(store, "SELECT 'interrupted'").rows)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(store.path)],
        cwd=Path(__file__).resolve().parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)

    assert (out, err) == ("[('interrupted',)]\n", "")
