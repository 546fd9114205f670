"""The new side of a patch: for each file that it changes, the lines that it shows, at their numbers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from shootdown.kernel.hunk import shown_whole

_HUNK: Final = re.compile(r"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NEXT: Final = re.compile(r"diff |--- .*\n\+\+\+ |index |-- ?\r?$", re.MULTILINE)
"""What follows a hunk: another file's header, or the signature of a mail."""
LAST_LINE: Final = 1 << 20
"""The limit of the number of a line in the file that is patched."""


class PatchError(ValueError):
    """The error that a patch does not say what its new side is; its text is a sentence without a subject."""


@dataclass
class _File:
    hunks: list[tuple[int, list[str]]] = field(default_factory=list)
    """The number of the first line of each hunk, 1 for the file's first one, and its lines."""
    end: int = 1
    """The number of the line after the last hunk."""


def is_patch(content: str) -> bool:
    """Return whether a text has a hunk."""
    return any(map(_HUNK.match, content.split("\n")))


def new_sides(content: str) -> dict[str, str]:
    """Return, by its name, what the patch shows whole of each file after it, with each line at its number.

    A name has no `b/` before it, and is "" for hunks without one.
    Errors: PatchError.
    """
    files: dict[str, _File] = {}
    for name, start, shown in _hunks(content):
        file = files.setdefault(name, _File())
        if start < file.end:
            raise PatchError(f"changes {name or 'its file'} twice, or backwards")
        if start > LAST_LINE:
            raise PatchError(f"changes line {start}, which no file has")
        if start == file.end and file.hunks:
            file.hunks[-1][1].extend(shown)
        else:
            file.hunks.append((start, shown))
        file.end = start + len(shown)
    return {name: _assembled(file) for name, file in files.items()}


def _hunks(content: str) -> Iterator[tuple[str, int, list[str]]]:
    """Yield the name of the file, the number of the first line and the lines of the new side of each hunk."""
    lines = content.split("\n")
    name, at = "", 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("+++ "):
            name = _named(line)
        hunk = _HUNK.match(line)
        if not hunk:
            continue
        old, new = int(hunk[1] or 1), int(hunk[3] or 1)
        shown: list[str] = []
        while at < len(lines) and (old > 0 or new > 0) and not _ends(lines, at):
            line = lines[at]
            at += 1
            old -= line[:1] != "+"
            new -= line[:1] != "-"
            if line[:1] in ("+", " ", "", "\r"):
                shown.append(line[1:])
        # A mail may end with blank lines.
        if at < len(lines) and lines[at].strip() and lines[at][0] in "+- " and not _ends(lines, at):
            raise PatchError(f"has more lines in a hunk than the hunk says, in line {at + 1}")
        if shown and name != _NOTHING:
            yield name, int(hunk[2]), shown


_NOTHING: Final = "/dev/null"


def _ends(lines: list[str], at: int) -> bool:
    line = lines[at]
    if line[:1] in ("+", " ", "", "\r", "\\"):
        return False
    return line[:1] != "-" or bool(_NEXT.match("\n".join(lines[at : at + 2])))


def _named(line: str) -> str:
    name = line.removeprefix("+++ ").partition("\t")[0].strip().strip('"')
    return name.removeprefix("b/").removeprefix("./")


def _assembled(file: _File) -> str:
    made: list[str] = []
    unended = 0
    for start, lines in file.hunks:
        gap = start - 1 - len(made)
        if unended > gap:
            raise PatchError(f"does not show the end of a condition before line {start}")
        made += ["#endif"] * unended + [""] * (gap - unended)
        kept, unended = shown_whole(lines)
        made += kept
    return "\n".join(made + ["#endif"] * unended) + "\n"
