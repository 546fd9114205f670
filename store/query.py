"""Raw SQL that can only read.

Three things stand between the statement and the file: the connection is open for reading only, `query_only` is on,
and an authorizer refuses everything that is not part of a SELECT. The authorizer is needed: without it ATTACH still
creates the file that it names, and VACUUM INTO writes one.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from shootdown.store.errors import QueryFailed, QueryRefused, StoreError, from_sqlite
from shootdown.store.open import SqlValue, Store

_READING: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)

_READING_PRAGMAS: Final = frozenset(
    {
        "foreign_key_check",
        "foreign_key_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "integrity_check",
        "quick_check",
        "table_info",
        "table_list",
        "table_xinfo",
    }
)

# Instructions of SQLite's virtual machine: some milliseconds.
_STEPS_BETWEEN_SIGNALS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of values; it may have no rows, and two columns may have the same name."""

    columns: tuple[str, ...]
    rows: list[tuple[SqlValue, ...]]


@dataclass(frozen=True, slots=True)
class RowStream:
    """The same as Rows, but a row is computed only when it is asked for: no result is too large for the memory."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[SqlValue, ...]]


def query(
    store: Store, sql: str, parameters: Sequence[SqlValue] | dict[str, SqlValue] = ()
) -> Rows:
    """Return all rows of one SELECT, as `reading` yields them one after the other."""
    with reading(store, sql, parameters) as stream:
        return Rows(stream.columns, list(stream.rows))


@contextmanager
def reading(
    store: Store, sql: str, parameters: Sequence[SqlValue] | dict[str, SqlValue] = ()
) -> Iterator[RowStream]:
    """Yield the rows of one SELECT (or EXPLAIN, or a PRAGMA that shows the schema); no statement can change any file.

    Errors, at the start or with any row: QueryRefused for every other statement; QueryFailed with SQLite's own words
    for SQL that it does not accept; ValueError when the store is not open for reading only.
    """
    if not store.readonly:
        raise ValueError("raw SQL needs a store that is open for reading only")
    refused: list[int] = []

    def authorize(action: int, name: str | None, *_: str | None) -> int:
        if action in _READING or (action == sqlite3.SQLITE_PRAGMA and name in _READING_PRAGMAS):
            return sqlite3.SQLITE_OK
        # The first use of a table-valued function such as json_each declares its columns, and asks for this. A real
        # UPDATE of the schema needs the pragma writable_schema, which is refused.
        if action == sqlite3.SQLITE_UPDATE and name == "sqlite_master":
            return sqlite3.SQLITE_OK
        refused.append(action)
        return sqlite3.SQLITE_DENY

    connection = store.db.conn
    connection.set_authorizer(authorize)
    # Python notices Ctrl-C in this callback; without it an endless SELECT could only be killed.
    connection.set_progress_handler(lambda: 0, _STEPS_BETWEEN_SIGNALS)
    try:
        cursor = connection.execute(sql, parameters)
        if cursor.description is None:
            raise QueryFailed("The SQL holds no statement.")
        yield RowStream(tuple(column[0] for column in cursor.description), cursor)
    except (sqlite3.Error, sqlite3.Warning) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise KeyboardInterrupt from None
        raise _sentence(error, store, refused=bool(refused)) from error
    finally:
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)


def _sentence(error: Exception, store: Store, *, refused: bool) -> StoreError:
    if refused:
        return QueryRefused(
            "Refused: only SQL that reads the findings database is run, such as SELECT."
        )
    known = from_sqlite(error, store.path) if isinstance(error, sqlite3.Error) else None
    return known or QueryFailed(f"SQLite does not accept this SQL: {str(error).rstrip('.')}.")
