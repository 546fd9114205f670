"""What can go wrong with a findings database: one class per cause, whose text is the sentence the user reads.

They have a module of their own because every other module of the store raises some of them.
"""

import sqlite3
from pathlib import Path

from shootdown.system.user_error import UserError


class StoreError(UserError):
    """The findings database cannot do what was asked."""


class StoreMissing(StoreError):
    """There is no findings database at that path."""


class StoreUnreadable(StoreError):
    """The file cannot be read as a database: wrong kind of file, no permission, not SQLite."""


class StoreForeign(StoreError):
    """The file is a SQLite database of another application, and stays untouched."""


class StoreNewer(StoreError):
    """The findings database was written by a newer shootdown than this one."""


class StoreOlder(StoreError):
    """The findings database has an older schema, and was opened in a way that forbids an update."""


class StoreLocked(StoreError):
    """Another process holds the findings database."""


class StoreReadOnly(StoreError):
    """The findings database can be read, but not written."""


class StoreFull(StoreError):
    """The disk has no room for the findings database."""


class StoreDamaged(StoreError):
    """The content of the findings database is not what was written."""


class StoreUnsupported(StoreError):
    """The SQLite library of this Python is too old for strict tables."""


class UnknownCampaign(StoreError):
    """No campaign has that name or id."""


class CampaignExists(StoreError):
    """A new campaign has the name of another one."""


class UnknownFinding(StoreError):
    """No finding's id starts like that."""


class AmbiguousFinding(StoreError):
    """Several findings' ids start like that."""


class UnknownView(StoreError):
    """No view has that name, or the view has no such parameter."""


class QueryRefused(StoreError):
    """The SQL would do something other than read the findings database."""


class QueryFailed(StoreError):
    """SQLite cannot run the SQL."""


class MergeConflict(StoreError):
    """Two databases hold different campaigns under one id."""


def from_sqlite(error: sqlite3.Error, path: Path) -> StoreError | None:
    """Return a sentence for every failure that a user can cause or cure; None means a defect of this program.

    The low byte of SQLite's extended result code names the cause (sqlite.org/rescode.html).
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreLocked(f"{path} is locked by another process; try again when it has ended.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreReadOnly(f"{path} cannot be written: no permission, or a read-only disk.")
        case sqlite3.SQLITE_CANTOPEN:
            return StoreUnreadable(f"{path} cannot be opened: no permission for it or its folder.")
        case sqlite3.SQLITE_NOTADB:
            return StoreUnreadable(f"{path} is not a SQLite database.")
        case sqlite3.SQLITE_FULL:
            return StoreFull(f"The disk is full; nothing was added to {path}.")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_IOERR:
            return StoreDamaged(f"{path} is damaged or its disk fails: {error}.")
        case _:
            return None
