"""A private copy of a store in a place where nothing can be written.

A database in WAL mode needs its -shm file even to be read, and a log that a killed campaign left behind must be
replayed; on a read-only disk neither is possible in place. SQLite's immutable mode would do without both, but it
leaves out what is in the log and trusts that nobody writes.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from shootdown.store.errors import StoreLocked, StoreUnreadable


def private_copy(path: Path) -> TemporaryDirectory[str]:
    """Return a folder that holds the database and its log as they were at one instant; cleaning it up removes it."""
    files = [path, path.with_name(f"{path.name}-wal")]
    folder = TemporaryDirectory(prefix="shootdown-")
    try:
        before = _signatures(files)
        for file in files:
            if file.exists():
                shutil.copyfile(file, Path(folder.name, file.name))
        if _signatures(files) != before:
            raise StoreLocked(
                f"{path} is being written by another process; try again when it has ended."
            )
    except OSError as error:
        folder.cleanup()
        raise StoreUnreadable(f"{path} cannot be copied for reading: {error.strerror}.") from None
    except BaseException:
        folder.cleanup()
        raise
    return folder


def _signatures(files: list[Path]) -> list[tuple[int, int] | None]:
    return [
        (file.stat().st_size, file.stat().st_mtime_ns) if file.exists() else None for file in files
    ]
