"""The files of a kernel tree that the user names: they are read one by one, only inside the tree, and never written.

A tree may come from anywhere, so nothing in it is trusted: a symbolic link is not followed, only regular files of a
bounded size are read, and no program of the tree is run.
"""

import os
import re
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from shootdown.kernel.patch import PatchError, is_patch, new_sides
from shootdown.system.user_error import UserError

RULE_HEADER: Final = "arch/x86/include/asm/tlbflush.h"
"""The file with the need-flush rule in every kernel since 5.19."""
RULES: Final = ("pte_needs_flush", "pte_may_need_flush")
"""The names of the rule for an entry of 4 KiB, in kernels and in patches."""
MAKEFILE: Final = "Makefile"
"""The file with the release."""
LARGEST_FILE: Final = 4 << 20
"""The limit in bytes; the largest file that is read here has a twentieth of it (mm/memory.c of 7.3)."""
LARGEST_ARCHIVE: Final = 4 << 30
"""The limit in bytes for an unpacked archive; a kernel has 1.6 GiB."""
LARGEST_COPIES: Final = 64 << 20
"""The limit in characters for the wanted files of an archive, with those of the same names in other folders."""


class KernelError(UserError):
    """The error that a text cannot be read, cut or compiled."""


class Text(Protocol):
    """The text that a path of the user names."""

    path: Path
    """The path, as the user has typed it."""
    word: str
    """The name of the text, as one word."""
    advice: str
    """After it has been read: a sentence for a reader who misses something in it, "" for none."""

    def read(self, names: Sequence[str]) -> dict[str, str]:
        """Return the existing ones of the files, by their names in a tree."""
        ...

    def called(self, name: str) -> str:
        """Return what messages call the file of that name, after it has been read: one line of printable ASCII."""
        ...


def text_at(path: Path) -> Text:
    """Return the text at a path: of a tree or a part of one, of an archive of a tree, of a C file or of a patch.

    Errors: KernelError, when the path names none of these.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise KernelError(f"{shown(path)} cannot be read: {_reason(error)}.") from None
    if stat.S_ISDIR(mode):
        return Tree(path)
    if not stat.S_ISREG(mode):
        raise KernelError(f"{shown(path)} is neither a folder nor a file.")
    try:
        if tarfile.is_tarfile(path):
            return Archive(path)
    except OSError as error:
        raise KernelError(f"{shown(path)} cannot be read: {_reason(error)}.") from None
    return File(path)


def shown(path: Path) -> str:
    """Return a path on one line."""
    return printable(str(path))


def printable(words: str) -> str:
    """Return words of a text that is not trusted, on one line."""
    return "".join(sign if sign.isprintable() else "?" for sign in words)


class Tree:
    """A folder that is a kernel tree, or has the needed files of a kernel tree."""

    advice = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.word = _word(path.resolve().name)

    def read(self, names: Sequence[str]) -> dict[str, str]:
        """Read files of the folder, none of them through a symbolic link."""
        found: dict[str, str] = {}
        for name in names:
            content = self._content(name)
            if content is not None:
                found[name] = content
        return found

    def called(self, name: str) -> str:
        """Return the name in the tree."""
        return name

    def _content(self, name: str) -> str | None:
        """Return the content of a file, None if it does not exist.

        Each folder on the way is opened separately, so that a link that is created meanwhile is not followed either.
        """
        folders: list[int] = []
        try:
            folders.append(os.open(self.path, os.O_RDONLY | os.O_DIRECTORY))
            *way, last = name.split("/")
            for part in way:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                folders.append(os.open(part, flags, dir_fd=folders[-1]))
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            with open(os.open(last, flags, dir_fd=folders[-1]), "rb") as file:  # noqa: PTH123 - a descriptor
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise KernelError(f"{shown(self.path)}: {name} is no regular file.")
                return _decoded(file.read(LARGEST_FILE + 1), f"{shown(self.path)}: {name}")
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"{shown(self.path)}: {name} cannot be read: {_reason(error)}."
            raise KernelError(message) from None
        finally:
            for folder in folders:
                os.close(folder)


class Archive:
    """An archive of a kernel tree, in the form of kernel.org and of Debian's linux-source packages."""

    advice = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.word = _word(path.name.partition(".tar")[0])

    def read(self, names: Sequence[str]) -> dict[str, str]:
        """Read members of the archive, which are in one folder or in none, in one pass.

        A tree has folders with copies of its own headers. The folder that has most of the files is the tree.
        """
        folders: dict[str, dict[str, str | None]] = {}
        seen = kept = 0
        try:
            with tarfile.open(self.path, "r|*") as archive:
                for member in archive:
                    seen += member.size
                    if seen > LARGEST_ARCHIVE:
                        raise KernelError(f"{shown(self.path)} unpacks to more than 4 GiB.")
                    for folder, name in _places(member.name):
                        if name not in names or name in folders.get(folder, ()):
                            continue
                        file = archive.extractfile(member) if member.isreg() else None
                        where = f"{shown(self.path)}: {printable(member.name)}"
                        content = _decoded(file.read(LARGEST_FILE + 1), where) if file else None
                        kept += len(content or "")
                        if kept > LARGEST_COPIES:
                            raise KernelError(f"{shown(self.path)} has too many copies of {name}.")
                        folders.setdefault(folder, {})[name] = content
                        break
                    if any(len(found) == len(set(names)) for found in folders.values()):
                        break
        except (OSError, EOFError, tarfile.TarError, ValueError) as error:
            raise KernelError(f"{shown(self.path)} cannot be unpacked: {_reason(error)}.") from None
        found: dict[str, str] = {}
        tree = max(folders.values(), key=len, default={})
        for name, content in tree.items():
            if content is None:
                raise KernelError(f"{shown(self.path)}: {name} is no regular file.")
            found[name] = content
        return found

    def called(self, name: str) -> str:
        """Return the name in the tree."""
        return name


def _places(member: str) -> list[tuple[str, str]]:
    """Return the folder in an archive that may be the tree, and the name in this tree: in the archive's root or not."""
    name = member.removeprefix("./")
    folder, _, inner = name.partition("/")
    return [("", name), *([(folder, inner)] if folder not in ("", "..") else [])]


class File:
    """A C file or a patch with only the functions of the rule."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.word = _word(path.stem)
        self.advice = ""
        self._called = path.name

    def read(self, names: Sequence[str]) -> dict[str, str]:
        """Read the file in the place of the header that has the rule in a tree; and of a patch the tree's headers too.

        Of a patch, the file that has the rule is the header itself, the only file, or the one that defines the rule.
        """
        if RULE_HEADER not in names:
            return {}
        try:
            with self.path.open("rb") as file:
                content = _decoded(file.read(LARGEST_FILE + 1), shown(self.path))
        except OSError as error:
            raise KernelError(f"{shown(self.path)} cannot be read: {_reason(error)}.") from None
        if not is_patch(content):
            return {RULE_HEADER: content}
        self.advice = "A patch that is made with git diff -U2000 has all of its files."
        try:
            sides = new_sides(content)
        except PatchError as error:
            raise KernelError(f"{shown(self.path)} {error}.") from None
        # Before the name there is a folder, in patches that git has not made.
        inside = {
            inner: name
            for name in sides
            for inner in (name, name.partition("/")[2])
            if inner in names
        }
        if RULE_HEADER in inside:
            self._called = RULE_HEADER
            return {inner: sides[name] for inner, name in inside.items()}
        ruling = [name for name, side in sides.items() if len(sides) == 1 or _RULING.search(side)]
        if not ruling:
            raise KernelError(
                f"{shown(self.path)} has none of the functions {' and '.join(RULES)}. {self.advice}"
            )
        self._called = ruling[0] or self.path.name
        found = {inner: sides[name] for inner, name in inside.items() if name != ruling[0]}
        return {**found, RULE_HEADER: sides[ruling[0]]}

    def called(self, name: str) -> str:
        """Return the name of the file, or the one in the patch."""
        return (
            re.sub(r"[^\w./+ -]", "?", self._called, flags=re.ASCII)
            if name == RULE_HEADER
            else name
        )


_RULING: Final = re.compile(
    rf"^(?:[A-Za-z_][^;={{}}\n]*\b)?(?:{'|'.join(RULES)})\s*\(", re.MULTILINE
)
"""The first line of a definition of the rule, or of its declaration."""


def release_of(makefile: str) -> str:
    """Return the release that a tree's Makefile names, "" if it names none."""
    numbers = [
        re.search(rf"^{name} *= *([\w.+-]*) *$", makefile, re.MULTILINE)
        for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL", "EXTRAVERSION")
    ]
    version, level, *rest = [found[1] if found else "" for found in numbers]
    if not version or not level:
        return ""
    sublevel, extra = rest
    return f"{version}.{level}" + (f".{sublevel}" if sublevel else "") + extra


def _word(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", name, flags=re.ASCII).strip("-")[:40] or "tree"


def _decoded(content: bytes, where: str) -> str:
    if len(content) > LARGEST_FILE:
        raise KernelError(f"{where} has more than {LARGEST_FILE >> 20} MiB, which no kernel's has.")
    if b"\0" in content:
        raise KernelError(f"{where} is no text: it contains a zero byte.")
    return content.decode("utf-8", "replace")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
