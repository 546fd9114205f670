"""A cache of what the compiler has made: complete and undamaged, or made anew."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from shootdown.kernel.text import KernelError, shown

_UNFINISHED: Final = "unfinished-"
_SUMS: Final = "sums.json"
"""The file of a build with the digest of each of its other files."""


def cached(key: Mapping[str, str], name: str, make: Callable[[Path], None]) -> Path:
    """Return the path of a file that `make` has put into a folder, now or in an earlier run with an equal key.

    A build is complete or absent, even after an interruption, and any number of processes may need the same one.
    One of which a file is damaged or gone is made anew.
    Errors: KernelError, of `make`, and when the folder cannot be written.
    """
    digest = digest_of(key)
    try:
        root = _root()
        folder = root / digest
        if not _whole(folder, name):
            with _unfinished(root) as unfinished:
                build = Path(unfinished, digest)
                build.mkdir()
                make(build)
                (build / _SUMS).write_text(json.dumps(_sums(build)))
                _exchange(build, folder, name)
    except OSError as error:
        where = error.filename or "the cache"
        raise KernelError(f"{where} cannot be written: {error.strerror}.") from None
    return folder / name


def digest_of(key: Mapping[str, str]) -> str:
    """Return 16 hexadecimal digits that are equal only for equal keys."""
    digest = hashlib.sha256()
    for name, content in sorted(key.items()):
        for part in (name, content):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()[:16]


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.iterdir() if file.name != _SUMS)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _whole(folder: Path, name: str) -> bool:
    """Return whether a build has all that was put there: the loader ends the process at a part of a library."""
    try:
        sums = json.loads((folder / _SUMS).read_text())
        return bool(sums == _sums(folder)) and name in sums
    except (OSError, ValueError):
        return False


def _exchange(build: Path, folder: Path, name: str) -> None:
    """Put a build into its place, unless another process was faster, whose build is the same."""
    for _ in range(3):
        try:
            build.rename(folder)
        except OSError:
            if _whole(folder, name):
                return
            # What is left of a damaged build goes away with this one's folder.
            with suppress(FileNotFoundError):
                folder.rename(tempfile.mkdtemp(dir=build.parent))
        else:
            return
    build.rename(folder)


@contextmanager
def _unfinished(root: Path) -> Iterator[str]:
    """Give a folder for a build, and remove those of processes that were killed during theirs.

    The lock of a folder ends with its process.
    """
    with _locked(root):
        for left in root.glob(f"{_UNFINISHED}*"):
            with suppress(OSError), _locked(left, fcntl.LOCK_NB):
                shutil.rmtree(left, ignore_errors=True)
        folder = tempfile.TemporaryDirectory(dir=root, prefix=_UNFINISHED)
        lock = os.open(folder.name, os.O_RDONLY)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with folder as name:
            yield name
    finally:
        os.close(lock)


@contextmanager
def _locked(folder: Path, how: int = 0) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(handle)


def cache_home() -> Path:
    """Return the folder for caches: $XDG_CACHE_HOME, or else ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given) if given.startswith("/") else Path.home() / ".cache"


def _root() -> Path:
    root = cache_home() / "shootdown" / "kernel"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.statvfs(root).f_flag & os.ST_NOEXEC:
        raise KernelError(
            f"{shown(root)} is in a file system from which nothing is executed: "
            "set XDG_CACHE_HOME to a folder of another one."
        )
    return root
