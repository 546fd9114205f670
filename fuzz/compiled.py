"""Whether this is the tree that `make compile` makes, and whether it is the one of these sources."""

import hashlib
from pathlib import Path
from typing import Final

PACKAGES: Final = ("contract", "corpus", "fuzz", "machine", "mm", "optimized", "reference")
DIGEST: Final = "sources.sha256"
_HERE: Final = Path(__file__).resolve().parents[1]


class StaleTree(Exception):
    """The compiled tree is not made of the sources beside it. The message is one sentence."""


def is_compiled() -> bool:
    """Return whether this process runs on the compiled tree."""
    return (_HERE / DIGEST).exists()


def refuse_stale() -> None:
    """Return if this is no compiled tree, or one of the sources in the folder above it. Error: StaleTree."""
    if is_compiled() and (_HERE / DIGEST).read_text() != digest_of(_HERE.parent):
        message = f"{_HERE} was compiled from other sources; `make compile` compiles it anew."
        raise StaleTree(message)


def digest_of(root: Path) -> str:
    """Return 64 hex digits that stand for all files of the packages in a folder."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in {".py", ".txt"}:
                content = path.read_bytes()
                name = path.relative_to(root).as_posix()
                digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
