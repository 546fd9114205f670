"""Opening a findings database: the one place that decides whether a file is ours, and that makes a connection."""

import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self, TypeAlias

from sqlite_utils import Database

from shootdown.store.errors import (
    StoreDamaged,
    StoreForeign,
    StoreMissing,
    StoreNewer,
    StoreOlder,
    StoreReadOnly,
    StoreUnreadable,
    StoreUnsupported,
    from_sqlite,
)
from shootdown.store.schema import (
    APPLICATION_ID,
    MIGRATIONS,
    OLDEST_SQLITE,
    TABLES,
    known_migrations,
)
from shootdown.store.snapshot import private_copy

MEMORY: Final = Path(":memory:")

# Another campaign on the same file writes for milliseconds at a time; a process that holds it for longer is stuck, or
# waits for a person.
BUSY_SECONDS: Final = 5.0

WAL_ATTEMPTS: Final = 100

# Bytes: one page of the smallest size (sqlite.org/fileformat2.html, 1.2).
SMALLEST_DATABASE: Final = 512

SqlValue: TypeAlias = str | bytes | int | float | None


class Store:
    """One connection to a findings database. It belongs to the process and the thread that opened it."""

    def __init__(
        self,
        db: Database,
        path: Path,
        *,
        readonly: bool,
        copy: TemporaryDirectory[str] | None = None,
    ) -> None:
        self.db = db
        self.path = path
        self.readonly = readonly
        self._copy = copy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a second close does nothing.

        The last connection to close leaves no -wal and -shm beside the file, if it could write. SQLite lets a reader
        make these two but not remove them. They are empty then, and the next writer removes them.
        """
        self.db.close()
        if self._copy is not None:
            self._copy.cleanup()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Database]:
        """Store all writes of the block, or none; when the block ends they survive `kill -9` of this process.

        With `durable`, the default, they survive a power cut too; without it a power cut may lose the last
        transactions, but never half of one, and a later durable transaction makes the earlier ones durable as well.
        Transactions do not nest: an inner one could not keep its promise.
        """
        if self.readonly:
            raise StoreReadOnly(f"{self.path} was opened for reading only.")
        with sentences(self.path):
            # FULL syncs every commit, NORMAL only a checkpoint. The setting cannot change inside a transaction.
            self.db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            # Immediate: a transaction that starts as a reader may find at its first write that it is too late to wait.
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                self.db.rollback()
                raise

    def select(
        self, sql: str, parameters: Sequence[SqlValue] | dict[str, SqlValue] = ()
    ) -> list[dict[str, Any]]:
        """Return all rows, of one instant, as dictionaries in column order."""
        with sentences(self.path):
            cursor = self.db.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]


@contextmanager
def sentences(path: Path) -> Iterator[None]:
    """Turn an SQLite failure that a user can cause into the StoreError with its sentence."""
    try:
        yield
    except sqlite3.Error as error:
        known = from_sqlite(error, path)
        if known is None:
            raise
        raise known from error


def open_store(path: str | Path, *, create: bool, readonly: bool = False) -> Store:
    """Return the store at a path, with the schema of this program.

    A file that is not ours is not touched, not even by a lock.
    `create`: a missing or empty file becomes a new store. `path` ":memory:" with `create` is a store that ends with its
    connection.
    `readonly`: nothing is written, not even a newer schema, so a read-only disk is enough.
    Errors: StoreMissing, StoreUnreadable, StoreForeign, StoreNewer, StoreOlder (readonly only), StoreLocked,
    StoreReadOnly, StoreDamaged, StoreUnsupported.
    """
    if create and readonly:
        raise ValueError("a new store cannot be read-only")
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise StoreUnsupported(
            f"SQLite {needed} or newer is needed; this Python has {sqlite3.sqlite_version}."
        )
    path = Path(path)
    with sentences(path):
        if path == MEMORY:
            if not create:
                raise StoreMissing(":memory: is always new.")
            return _writable(":memory:", path, create=True)
        _identify(path, create=create)
        if readonly:
            return _readable(path)
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        return _writable(uri, path, create=create)


def _identify(path: Path, *, create: bool) -> None:
    """Return for a file of ours, and with `create` for one that is missing or empty; raise for everything else.

    SQLite reads the header in immutable mode: no lock, no -wal or -shm file, no recovery of another application's
    journal. If this process opened and closed the file itself, it would drop the POSIX locks that it holds on it
    through another Store (sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        if not create:
            raise StoreMissing(f"{path} does not exist.") from None
        if not path.parent.is_dir():
            raise StoreMissing(f"The folder {path.parent} does not exist.") from None
        return
    except OSError as error:
        raise StoreUnreadable(f"{path} cannot be opened: {error.strerror}.") from None
    if stat.S_ISDIR(status.st_mode):
        raise StoreUnreadable(f"{path} is a folder, not a findings database.")
    if not stat.S_ISREG(status.st_mode):
        raise StoreUnreadable(f"{path} is not a regular file.")
    if status.st_size == 0:
        if not create:
            raise StoreUnreadable(f"{path} is empty, not a findings database.")
        return
    if status.st_size < SMALLEST_DATABASE:
        # SQLite treats a file of one byte as an empty database.
        raise StoreUnreadable(f"{path} is not a SQLite database.")
    header = _connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1")
    try:
        if _application_id(header) != APPLICATION_ID:
            raise StoreForeign(f"{path} is a SQLite database, but not one of shootdown's findings.")
    finally:
        header.close()


def _connect(uri: str) -> Database:
    # A plugin of sqlite-utils that a user installed for other work must not run inside a campaign.
    return Database(
        sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS),
        recursive_triggers=False,
        execute_plugins=False,
    )


def _application_id(db: Database) -> int:
    return int(db.execute("PRAGMA application_id").fetchone()[0])


def _writable(uri: str, path: Path, *, create: bool) -> Store:
    """Return the store with its schema up to date; one transaction writes the schema and the mark that the file is
    ours.

    Write-ahead logging is switched on only after that. So the mark is in the file itself and not in its log, where
    _identify could not see it.
    """
    db = _connect(uri)
    store = Store(db, path, readonly=False)
    try:
        db.execute("PRAGMA foreign_keys = ON")
        with store.transaction():
            if _application_id(db) != APPLICATION_ID:
                # If a process is killed while it makes the file, SQLite rolls the file back to nothing.
                if db.table_names():
                    raise StoreForeign(f"{path} is not one of shootdown's findings databases.")
                if not create:
                    raise StoreUnreadable(f"{path} is empty, not a findings database.")
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            _refuse_newer(db, path)
            MIGRATIONS.apply(db)
            _refuse_damaged(db, path)
        if path != MEMORY:
            _enable_wal(store)
    except BaseException:
        store.close()
        raise
    return store


def _enable_wal(store: Store) -> None:
    """Put the store into WAL mode, also when several processes have just made it together.

    For a transaction SQLite waits for others; for a change of the journal mode it does not. So this function waits for
    a transaction that excludes all others, and tries again.
    """
    for attempt in range(1, WAL_ATTEMPTS + 1):
        try:
            store.db.enable_wal()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == WAL_ATTEMPTS:
                raise
        else:
            return
        store.db.execute("BEGIN EXCLUSIVE")
        store.db.rollback()


def _readable(path: Path) -> Store:
    """Return a store that cannot write: from the file, or from a copy where the folder cannot hold a -shm file."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        return _checked(Store(_connect(uri), path, readonly=True))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
    copy = private_copy(path)
    uri = f"{Path(copy.name, path.name).as_uri()}?mode=ro"
    return _checked(Store(_connect(uri), path, readonly=True, copy=copy))


def _checked(store: Store) -> Store:
    try:
        store.db.execute("PRAGMA query_only = ON")
        _refuse_newer(store.db, store.path)
        if MIGRATIONS.pending(store.db):
            raise StoreOlder(
                f"{store.path} has the schema of an older shootdown; `shootdown fuzz --db` or"
                " `shootdown findings merge` into it brings it up to date."
            )
        _refuse_damaged(store.db, store.path)
    except BaseException:
        store.close()
        raise
    return store


def _refuse_newer(db: Database, path: Path) -> None:
    unknown = sorted({migration.name for migration in MIGRATIONS.applied(db)} - known_migrations())
    if unknown:
        raise StoreNewer(
            f"{path} was written by a newer shootdown: its schema has {', '.join(unknown)},"
            " which this one does not know."
        )


def _refuse_damaged(db: Database, path: Path) -> None:
    missing = sorted({*TABLES} - {*db.table_names()})
    if missing:
        raise StoreDamaged(f"{path} is damaged: it lacks the table {', '.join(missing)}.")
