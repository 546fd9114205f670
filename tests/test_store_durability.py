"""Everything that has been announced is on the disk."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from shootdown.store import (
    Replay,
    Store,
    Totals,
    find_finding,
    list_findings,
    load_trace,
    open_store,
    record_finding,
    record_replay,
    save_totals,
    start_campaign,
)
from shootdown.store.errors import StoreUnreadable
from tests.store_samples import CAMPAIGN, EVIDENCE, MINIMUM, instant, minimum, sighting

# A campaign that announces every finding as soon as it may, and goes on with undurable writes in between.
ANNOUNCER = """
import sys
from shootdown.store import *
from tests.store_samples import *
store = open_store(sys.argv[1], create=True)
campaign = start_campaign(store, CAMPAIGN)
number = 0
while True:
    key = record_finding(store, minimum(number), sighting(campaign), EVIDENCE).key
    print(key, flush=True)
    add_corpus(store, campaign, [number.to_bytes(4)])
    save_totals(store, campaign, Totals(executions=number))
    number += 1
"""


def traced(store: Store) -> list[str]:
    """Return a list to which SQLite adds every statement that it runs for the store."""
    statements: list[str] = []
    store.db.conn.set_trace_callback(lambda sql: statements.append(" ".join(sql.split())))
    return statements


def test_finding_is_committed_before_return(tmp_path: Path) -> None:
    """The last statement of record_finding is a COMMIT, and its transaction syncs fully."""
    store = open_store(tmp_path / "findings.db", create=True)
    campaign = start_campaign(store, CAMPAIGN)
    statements = traced(store)

    record_finding(store, MINIMUM, sighting(campaign), EVIDENCE)

    assert statements[:2] == ["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"]
    assert statements[-1] == "COMMIT"
    assert statements.count("COMMIT") == 1
    assert not store.db.conn.in_transaction


def test_others_see_it_at_once(tmp_path: Path) -> None:
    """Another connection has the finding, its sighting and its trace as soon as record_finding returns."""
    store = open_store(tmp_path / "findings.db", create=True)
    campaign = start_campaign(store, CAMPAIGN)
    other = open_store(tmp_path / "findings.db", create=False, readonly=True)

    for number in range(3):
        record_finding(store, minimum(number), sighting(campaign), EVIDENCE)

        assert len(list_findings(other)) == number + 1
        assert load_trace(other, minimum(number).key)


def test_sync_after_undurable_writes(tmp_path: Path) -> None:
    """A finding is synced fully also when the write before it was not."""
    store = open_store(tmp_path / "findings.db", create=True)
    campaign = start_campaign(store, CAMPAIGN)
    statements = traced(store)

    save_totals(store, campaign, Totals(executions=1))
    record_finding(store, MINIMUM, sighting(campaign), EVIDENCE)
    replay = Replay(MINIMUM.key, instant(9), "v1", "0.1.0", "legal", "", "", reproduced=False)
    record_replay(store, replay)

    assert [sql for sql in statements if sql.startswith("PRAGMA sync")] == [
        "PRAGMA synchronous = NORMAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = FULL",
    ]


def test_finding_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """When the sighting cannot be stored, here because its campaign is missing, the finding is not stored either."""
    store = open_store(tmp_path / "findings.db", create=True)

    with pytest.raises(sqlite3.IntegrityError):
        record_finding(store, MINIMUM, sighting("nobody"), EVIDENCE)

    assert store.select("SELECT count(*) AS n FROM minima") == [{"n": 0}]


def announced(stdout: IO[str], at_least: int) -> list[str]:
    """Return the complete lines that a process has announced, once there are that many."""
    lines: list[str] = []
    while len(lines) < at_least:
        line = stdout.readline()
        assert line, "the announcing process ended by itself"
        lines.append(line.strip())
    return lines


@pytest.mark.parametrize("after", [1, 7, 60])
def test_kill_loses_nothing_announced(tmp_path: Path, after: int) -> None:
    """Everything that a campaign announced before `kill -9` is in its database, which is intact and usable."""
    path = tmp_path / "findings.db"
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", ANNOUNCER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    ) as process:
        assert process.stdout
        lines = announced(process.stdout, after)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
        lines += rest[: rest.rfind("\n") + 1].split()
    assert process.returncode == -signal.SIGKILL

    with open_store(path, create=False, readonly=True) as store:
        stored = {finding.key for finding in list_findings(store)}
        assert {*lines} <= stored
        assert len(stored) <= len(lines) + 1
        assert store.select("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        assert store.select("PRAGMA foreign_key_check") == []
    with open_store(path, create=False) as store:
        record_finding(store, minimum(0), sighting(CAMPAIGN.id, 30), EVIDENCE)
        assert find_finding(store, lines[0]).count == 2
    assert [file.name for file in tmp_path.iterdir()] == ["findings.db"]


def test_killed_while_the_store_is_made(tmp_path: Path) -> None:
    """If the creation of a store was interrupted, it is made again: its journal makes SQLite roll it back
    to nothing.
    """
    path = tmp_path / "findings.db"
    with open_store(path, create=True) as store:
        store.db.disable_wal()
    # The journal of any first transaction of a file: it says that there were no pages before.
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.executescript("PRAGMA cache_size = 1; BEGIN; CREATE TABLE t (a);")
        other.executemany("INSERT INTO t VALUES (?)", [(bytes(1000),)] * 1000)
        path.with_name("findings.db-journal").write_bytes(
            (tmp_path / "other.db-journal").read_bytes()
        )

    with pytest.raises(StoreUnreadable, match="is empty, not a findings database"):
        open_store(path, create=False)
    store = open_store(path, create=True)

    assert list_findings(store) == []
    assert not path.with_name("findings.db-journal").exists()
