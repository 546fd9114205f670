"""Which form of the models runs: compiled by mypyc, or interpreted.

In a checkout `make compile` puts the compiled modules into `.compiled/`, where a finder sees them before their sources,
unless a source has changed since then: otherwise one would debug code that does not run. In an installation they lie
beside their sources, and Python prefers them by itself. SHOOTDOWN_INTERPRETED=1 chooses the sources in both.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Final

PACKAGE: Final = "shootdown"
VARIABLE: Final = "SHOOTDOWN_INTERPRETED"
ROOMS: Final = (
    "machine",
    "mm",
    "contract",
    "reference",
    "optimized",
    "kernel",
    "scenario",
    "run",
    "fuzz",
    "prove",
)
"""The rooms that are compiled. What they import from each other is compiled into them."""
STAMP: Final = "sources.txt"
SUFFIX: Final = EXTENSION_SUFFIXES[0]


class CompiledFinder:
    """Finds the modules that a folder has in compiled form."""

    def __init__(self, folder: Path) -> None:
        found = folder.rglob(f"*{SUFFIX}")
        self.files = {_name(file.relative_to(folder)): file for file in found}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """Return the spec of a compiled module, or None for any other."""
        del path, target
        file = self.files.get(fullname)
        return spec_from_file_location(fullname, file) if file else None


class SourceFinder:
    """Finds the modules of the package by their sources, whatever is compiled beside them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of the package that has a source, or None for any other."""
        del target
        if not fullname.startswith(f"{PACKAGE}."):
            return None
        spec = PathFinder.find_spec(fullname, path)
        if (
            spec is None
            or spec.origin is None
            or not spec.origin.endswith(tuple(EXTENSION_SUFFIXES))
        ):
            return spec
        source = Path(spec.origin.removesuffix(SUFFIX) + SOURCE_SUFFIXES[0])
        return spec_from_file_location(fullname, source) if source.exists() else None


def choose() -> str:
    """Let the compiled form be imported where there is one; return the reason if it is not, or "" if it is.

    This is called once, when the package is imported and none of its rooms has been.
    """
    if os.environ.get(VARIABLE):
        sys.meta_path.insert(0, SourceFinder())
        return f"{VARIABLE} is set"
    here = Path(__file__).resolve().parent
    if _witness(here.parent).exists():
        return ""
    if not (here / "mm").is_symlink():
        return "it was installed where there was no C compiler"
    folder = here.parent / ".compiled"
    if not _witness(folder).exists():
        return "`make compile` has not been run"
    if not is_of(folder, here.parent):
        return "a source has changed since `make compile`"
    sys.meta_path.insert(0, CompiledFinder(folder))
    return ""


def has_form(folder: Path, root: Path) -> bool:
    """Return whether a folder has a compiled form of the sources below `root` for this Python."""
    return _witness(folder).exists() and is_of(folder, root)


def is_of(folder: Path, root: Path) -> bool:
    """Return whether a compiled form was made from the sources below `root`."""
    try:
        digest, _, times = (folder / STAMP).read_text().partition("\n")
    except (OSError, ValueError):
        return False
    return times == times_of(root) or digest == digest_of(root)


def stamp_of(root: Path) -> str:
    """Return the content of the file STAMP for a compiled form of the sources below `root`; take it before the form is
    made.
    """
    return f"{digest_of(root)}\n{times_of(root)}"


def sources(root: Path) -> list[Path]:
    """Return the sources from which a compiled form is made, sorted."""
    return [file for room in ROOMS for file in sorted((root / room).rglob("*.py"))]


def times_of(root: Path) -> str:
    """Return a line for each source, with the time of its last change and its size."""
    lines = []
    for file in sources(root):
        stat = file.stat()
        lines.append(f"{stat.st_mtime_ns} {stat.st_size} {file.relative_to(root).as_posix()}\n")
    return "".join(lines)


def digest_of(root: Path) -> str:
    """Return 64 hex digits that stand for the names and contents of the sources."""
    import hashlib  # noqa: PLC0415 - a start at which nothing has changed need not load OpenSSL

    digest = hashlib.sha256()
    for file in sources(root):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _witness(folder: Path) -> Path:
    """Return the path of a module that every compiled form has."""
    return folder / PACKAGE / "mm" / f"step{SUFFIX}"


def _name(file: Path) -> str:
    return str(file).removesuffix(SUFFIX).replace(os.sep, ".")


WHY_INTERPRETED: Final = choose()
"""Why the sources run, as the end of a sentence; "" when the compiled form runs."""


def is_compiled() -> bool:
    """Return whether the compiled form runs."""
    return not WHY_INTERPRETED


def described() -> str:
    """Return the form in words."""
    return f"interpreted, because {WHY_INTERPRETED}" if WHY_INTERPRETED else "compiled"


def advice() -> str:
    """Return the line for a user who starts long work on interpreted models, or "" when they are compiled."""
    if not WHY_INTERPRETED:
        return ""
    return f"The models run interpreted, at about half the speed: {WHY_INTERPRETED}."
