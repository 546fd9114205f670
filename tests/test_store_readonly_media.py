"""Reading a findings database in a place where nothing can be written."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shootdown.store import list_findings, open_store
from shootdown.store.errors import StoreLocked, StoreReadOnly, StoreUnreadable
from shootdown.store.snapshot import private_copy
from tests.store_samples import store_with_finding

NOBODY = 65534
Seal = Callable[[Path, int], Path]


@pytest.fixture
def sealed() -> Iterator[Seal]:
    """Yield a function that copies a folder to one that cannot be written, and its files with a mode of their own.

    Root becomes the user `nobody`, to whom permissions apply.
    """
    made: list[Path] = []
    root = os.geteuid() == 0

    def seal(folder: Path, mode: int) -> Path:
        copy = Path(tempfile.mkdtemp())
        made.append(copy)
        for file in folder.iterdir():
            if not file.name.endswith("-shm"):
                shutil.copyfile(file, copy / file.name)
                (copy / file.name).chmod(mode)
        copy.chmod(0o555)
        if root:
            os.seteuid(NOBODY)
        return copy

    yield seal
    if root:
        os.seteuid(0)
    for folder in made:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_closed_store(tmp_path: Path, sealed: Seal) -> None:
    """A store that was closed before it was put on a read-only disk can be read there."""
    store_with_finding(tmp_path / "findings.db").close()
    folder = sealed(tmp_path, 0o444)

    store = open_store(folder / "findings.db", create=False, readonly=True)

    assert len(list_findings(store)) == 1
    assert store.path == folder / "findings.db"


def test_log_of_a_killed_campaign(tmp_path: Path, sealed: Seal) -> None:
    """Data that is only in the log beside the store is read too."""
    store = store_with_finding(tmp_path / "findings.db")
    assert (tmp_path / "findings.db-wal").stat().st_size > 0
    folder = sealed(tmp_path, 0o444)
    store.close()

    copy = open_store(folder / "findings.db", create=False, readonly=True)

    assert len(list_findings(copy)) == 1


def test_nothing_is_left_behind(
    tmp_path: Path, sealed: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The private copy is gone when the store is closed."""
    store_with_finding(tmp_path / "findings.db").close()
    folder = sealed(tmp_path, 0o444)
    scratch = Path(tempfile.mkdtemp())
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    with open_store(folder / "findings.db", create=False, readonly=True):
        assert len(list(scratch.iterdir())) == 1

    assert list(scratch.iterdir()) == []
    scratch.rmdir()


def test_no_write(tmp_path: Path, sealed: Seal) -> None:
    """Opening it for writing is StoreReadOnly."""
    store_with_finding(tmp_path / "findings.db").close()
    folder = sealed(tmp_path, 0o444)

    with pytest.raises(StoreReadOnly, match="cannot be written"):
        open_store(folder / "findings.db", create=False)


def test_no_new_store(tmp_path: Path, sealed: Seal) -> None:
    """Creating a store there is StoreUnreadable."""
    folder = sealed(tmp_path, 0o444)

    with pytest.raises(StoreUnreadable, match="no permission for it or its folder"):
        open_store(folder / "findings.db", create=True)


def test_no_permission(tmp_path: Path, sealed: Seal) -> None:
    """A file that the user may not read is StoreUnreadable."""
    store_with_finding(tmp_path / "findings.db").close()
    folder = sealed(tmp_path, 0)

    with pytest.raises(StoreUnreadable, match="no permission for it or its folder"):
        open_store(folder / "findings.db", create=False, readonly=True)


def test_copy_of_a_moving_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes while it is copied is StoreLocked: half of two states would be worse."""
    path = tmp_path / "findings.db"
    store_with_finding(path).close()

    def copy_while_written(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes())
        with source.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(shutil, "copyfile", copy_while_written)

    with pytest.raises(StoreLocked, match="being written by another process"):
        private_copy(path)
