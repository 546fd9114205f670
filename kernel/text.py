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

from shootdown.system.user_error import UserError

RULE_HEADER: Final = "arch/x86/include/asm/tlbflush.h"
"""The file with the need-flush rule in every kernel since 5.19."""
MAKEFILE: Final = "Makefile"
"""The file with the release."""
LARGEST_FILE: Final = 4 << 20
"""The limit in bytes; the largest file that is read here has a twentieth of it (mm/memory.c of 7.3)."""
LARGEST_ARCHIVE: Final = 4 << 30
"""The limit in bytes for an unpacked archive; a kernel has 1.6 GiB."""


class KernelError(UserError):
    """The error that a text cannot be read, cut or compiled."""


class Text(Protocol):
    """The text that a path of the user names."""

    word: str
    """The name of the text, as one word."""

    def read(self, names: Sequence[str]) -> dict[str, str]:
        """Return the existing ones of the files, by their names in a tree."""
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
    return "".join(sign if sign.isprintable() else "?" for sign in str(path))


class Tree:
    """A folder that is a kernel tree, or has the needed files of a kernel tree."""

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

    def __init__(self, path: Path) -> None:
        self.path = path
        self.word = _word(path.name.partition(".tar")[0])

    def read(self, names: Sequence[str]) -> dict[str, str]:
        """Read members of the archive, which are in one folder or in none, in one pass."""
        wanted = set(names)
        found: dict[str, str] = {}
        seen = 0
        try:
            with tarfile.open(self.path, "r|*") as archive:
                for member in archive:
                    seen += member.size
                    if seen > LARGEST_ARCHIVE:
                        raise KernelError(f"{shown(self.path)} unpacks to more than 4 GiB.")
                    name = member.name.removeprefix("./")
                    inner = name if name in wanted else name.partition("/")[2]
                    if inner not in wanted or inner in found:
                        continue
                    where = f"{shown(self.path)}: {member.name}"
                    file = archive.extractfile(member) if member.isreg() else None
                    if file is None:
                        raise KernelError(f"{where} is no regular file.")
                    found[inner] = _decoded(file.read(LARGEST_FILE + 1), where)
                    if len(found) == len(wanted):
                        break
        except (OSError, EOFError, tarfile.TarError, ValueError) as error:
            raise KernelError(f"{shown(self.path)} cannot be unpacked: {_reason(error)}.") from None
        return found


class File:
    """A C file or a patch with only the functions of the rule."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.word = _word(path.stem)

    def read(self, names: Sequence[str]) -> dict[str, str]:
        """Read the file in the place of the header that has the rule in a tree."""
        if RULE_HEADER not in names:
            return {}
        try:
            with self.path.open("rb") as file:
                content = _decoded(file.read(LARGEST_FILE + 1), str(self.path))
        except OSError as error:
            raise KernelError(f"{shown(self.path)} cannot be read: {_reason(error)}.") from None
        return {RULE_HEADER: _new_side(content)}


GAP: Final = "lines_that_the_patch_does_not_show"
"""What stands for the lines between two hunks of a patch: a function that has it is not all there."""
_HUNK: Final = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")


def _new_side(content: str) -> str:
    """Return the new side of a patch, each line at its number in the file; the content itself if it is no patch."""
    lines = content.splitlines()
    if not any(map(_HUNK.match, lines)):
        return content
    new: list[str] = []
    inside = False
    for line in lines:
        hunk = _HUNK.match(line)
        if hunk:
            inside = True
            gap = min(int(hunk[1]) - 1 - len(new), LARGEST_FILE)
            # A declaration of nothing between functions; inside of one it is what the compiler complains about.
            new += [f"{GAP};", *[""] * (gap - 1)] if gap > 0 else []
        elif line.startswith(("diff ", "--- ", "+++ ", "index ")):
            inside = False
        elif inside and line[:1] in ("+", " ", ""):
            new.append(line[1:])
    return "\n".join(new) + "\n"


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
