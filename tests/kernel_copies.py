"""Private copies of the files of a kernel tree that are compiled, with edits."""

import re
from collections.abc import Callable
from pathlib import Path

from shootdown.kernel.machinery import FILES
from shootdown.kernel.rule import HEADERS

Edit = tuple[str, str, str | Callable[[re.Match[str]], str]]
"""A file, a pattern and its replacement."""


def edited(tree: Path, folder: Path, *edits: Edit) -> Path:
    """Copy the files that are read from a tree into a folder, with each edit made once; return the folder.

    Errors: AssertionError, when a pattern does not match exactly once: the edit is not the one that the test means.
    """
    for name in sorted({*FILES, *HEADERS}):
        source = tree / name
        if source.exists():
            content = source.read_text(encoding="utf-8", errors="replace")
            for file, pattern, replacement in edits:
                if file == name:
                    content, count = re.subn(pattern, replacement, content)
                    assert count == 1, f"{pattern} matches {count} times in {name}"
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
    return folder
