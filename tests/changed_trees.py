"""The strategies of kernel trees, and copies of a tree in which some lines are other ones."""

import shutil
from pathlib import Path
from typing import Final

from shootdown.kernel.policy import kernel_policy
from shootdown.kernel.splicer import FLUSHING, GATHERING
from shootdown.mm.world import FlushStrategy

_PARTS: Final = (
    "Makefile",
    FLUSHING,
    GATHERING,
    "arch/x86/include",
    "include/asm-generic/tlb.h",
    "include/linux/const.h",
    "include/uapi/linux/const.h",
    "include/vdso",
)
"""The files and folders of a tree that its policy needs."""
SWITCHING_IGNORED: Final = "\tif (loaded_mm == LOADED_MM_SWITCHING)\n\t\treturn true;\n", ""
"""The change of tlb.c that brings CVE-2025-37964 back: a CPU in a switch is not interrupted."""


def changed(tree: Path, folder: Path, *changes: tuple[str, str], file: str = FLUSHING) -> Path:
    """Copy a tree into a folder, replace the words of each change, which occur once, in one of its files; return the
    folder.
    """
    for part in _PARTS:
        there = folder / part
        there.parent.mkdir(parents=True, exist_ok=True)
        if (tree / part).is_dir():
            shutil.copytree(tree / part, there)
        elif (tree / part).exists():
            shutil.copy(tree / part, there)
    text = (folder / file).read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"{file} has {text.count(old)} times {old!r}"
        text = text.replace(old, new)
    (folder / file).write_text(text)
    return folder


def kernel_strategy(tree: Path) -> FlushStrategy:
    """Return the strategy of the text of a tree."""
    strategy: FlushStrategy = kernel_policy(f"c:{tree}").policy.make()
    return strategy
