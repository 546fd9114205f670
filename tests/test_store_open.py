"""Opening a findings database."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shootdown.store import Store, open_store, start_campaign
from shootdown.store.errors import (
    StoreError,
    StoreForeign,
    StoreLocked,
    StoreMissing,
    StoreNewer,
    StoreReadOnly,
    StoreUnreadable,
    StoreUnsupported,
)
from shootdown.store.schema import APPLICATION_ID, known_migrations
from tests.store_samples import CAMPAIGN, store_with_finding


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of the folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pragma(store: Store, name: str) -> object:
    """Return the value of a pragma on the store's connection."""
    return store.db.execute(f"PRAGMA {name}").fetchone()[0]


@pytest.mark.parametrize("empty", [False, True])
def test_create_makes_a_store(tmp_path: Path, *, empty: bool) -> None:
    """With create, a missing or an empty file becomes a store in WAL mode with foreign keys on."""
    path = tmp_path / "findings.db"
    if empty:
        path.touch()

    store = open_store(path, create=True)

    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "foreign_keys") == 1
    assert pragma(store, "application_id") == APPLICATION_ID


def test_closing_leaves_one_file(tmp_path: Path) -> None:
    """After a writer's close as the last, no -wal or -shm is beside the store; closing again does nothing."""
    store = store_with_finding(tmp_path / "findings.db")

    store.close()
    store.close()

    assert list(contents(tmp_path)) == ["findings.db"]


def test_reopening_changes_nothing(tmp_path: Path) -> None:
    """Opening and closing an existing store, in any way, leaves every byte of it as it was and nothing to replay."""
    path = tmp_path / "findings.db"
    store_with_finding(path).close()
    before = path.read_bytes()

    open_store(path, create=True).close()
    open_store(path, create=False).close()
    open_store(path, create=False, readonly=True).close()

    assert before == path.read_bytes()
    assert (tmp_path / "findings.db-wal").read_bytes() == b""


def test_names_that_uris_quote(tmp_path: Path) -> None:
    """A path may hold spaces, question marks, percent and number signs."""
    path = tmp_path / "a b?mode=memory#%41.db"

    store_with_finding(path).close()
    open_store(path, create=False, readonly=True)

    assert path.stat().st_size > 0


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is taken from the current folder, and is kept for messages as it was typed."""
    monkeypatch.chdir(tmp_path)

    store = open_store("findings.db", create=True)

    assert store.path == Path("findings.db")
    assert (tmp_path / "findings.db").exists()


def test_missing(tmp_path: Path) -> None:
    """Without create a missing file is StoreMissing, and none is made."""
    with pytest.raises(StoreMissing, match=r"none\.db does not exist\.$"):
        open_store(tmp_path / "none.db", create=False)

    assert contents(tmp_path) == {}


def test_missing_folder(tmp_path: Path) -> None:
    """With create the folder must exist."""
    with pytest.raises(StoreMissing, match=r"^The folder .*deeper does not exist\.$"):
        open_store(tmp_path / "deeper" / "findings.db", create=True)


def test_folder(tmp_path: Path) -> None:
    """A folder is StoreUnreadable."""
    with pytest.raises(StoreUnreadable, match="is a folder"):
        open_store(tmp_path, create=True)


def test_file_in_place_of_a_folder(tmp_path: Path) -> None:
    """A path below a file is StoreUnreadable."""
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnreadable, match="Not a directory"):
        open_store(tmp_path / "file" / "findings.db", create=True)


def test_pipe(tmp_path: Path) -> None:
    """A named pipe is StoreUnreadable at once; nothing waits for its other end."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(StoreUnreadable, match="is not a regular file"):
        open_store(tmp_path / "pipe", create=True)


def test_empty_without_create(tmp_path: Path) -> None:
    """Without create an empty file is StoreUnreadable and stays empty."""
    path = tmp_path / "findings.db"
    path.touch()

    with pytest.raises(StoreUnreadable, match="is empty, not a findings database"):
        open_store(path, create=False)

    assert contents(tmp_path) == {"findings.db": b""}


@pytest.mark.parametrize(("create", "readonly"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("content", [b"x", b"hello\n" * 5000, b"SQLite format 3\0 short"])
def test_not_a_database(tmp_path: Path, content: bytes, *, create: bool, readonly: bool) -> None:
    """A file that is not SQLite is StoreUnreadable, and not a byte of it or beside it changes."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)

    with pytest.raises(StoreUnreadable, match="is not a SQLite database"):
        open_store(path, create=create, readonly=readonly)

    assert contents(tmp_path) == {"notes.txt": content}


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_foreign_database(tmp_path: Path, mode: str, *, create: bool) -> None:
    """Another application's database is StoreForeign, and neither it nor its open log is touched."""
    path = tmp_path / "history.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute("CREATE TABLE visits (url TEXT)")
        other.commit()
        before = contents(tmp_path)

        with pytest.raises(StoreForeign, match="not one of shootdown's findings"):
            open_store(path, create=create)

        assert before == contents(tmp_path)


def test_foreign_log_is_not_replayed(tmp_path: Path) -> None:
    """A log that another application's crash left is still there, byte for byte, after the file was refused."""
    with closing(sqlite3.connect(tmp_path / "live.db")) as other:
        other.execute("PRAGMA journal_mode = wal")
        other.execute("CREATE TABLE visits (url TEXT)")
        other.commit()
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        for name in ("live.db", "live.db-wal"):
            (crashed / name).write_bytes((tmp_path / name).read_bytes())
    before = contents(crashed)

    with pytest.raises(StoreForeign):
        open_store(crashed / "live.db", create=False)

    assert before == contents(crashed)


def test_readonly_store_refuses_writes(tmp_path: Path) -> None:
    """A store that is open for reading only refuses a write with StoreReadOnly."""
    path = tmp_path / "findings.db"
    store_with_finding(path).close()
    store = open_store(path, create=False, readonly=True)

    with pytest.raises(StoreReadOnly, match="opened for reading only"):
        start_campaign(store, CAMPAIGN)


def test_create_and_readonly_contradict(tmp_path: Path) -> None:
    """A new store cannot be read-only."""
    with pytest.raises(ValueError, match="cannot be read-only"):
        open_store(tmp_path / "findings.db", create=True, readonly=True)


def test_memory() -> None:
    """A store in memory is new each time, so it can only be created."""
    open_store(":memory:", create=True)

    with pytest.raises(StoreMissing, match="always new"):
        open_store(":memory:", create=False)


def test_old_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite without strict tables is StoreUnsupported, with both versions, before a file is made."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))

    with pytest.raises(StoreUnsupported, match=r"^SQLite 3\.37\.0 or newer is needed"):
        open_store(tmp_path / "findings.db", create=True)

    assert contents(tmp_path) == {}


def test_every_cause_is_a_store_error() -> None:
    """Every failure of a store can be caught by one name."""
    causes = [StoreMissing, StoreUnreadable, StoreForeign, StoreNewer, StoreLocked, StoreReadOnly]

    assert all(issubclass(cause, StoreError) for cause in causes)


def test_failed_transaction_stores_nothing(tmp_path: Path) -> None:
    """A block that raises leaves the store as it was, and open for the next write."""
    store = open_store(tmp_path / "findings.db", create=True)

    def interrupted() -> None:
        with store.transaction() as db:
            db.execute("DELETE FROM _sqlite_migrations")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    done = [{"n": len(known_migrations())}]
    assert store.select("SELECT count(*) AS n FROM _sqlite_migrations") == done
    start_campaign(store, CAMPAIGN)
