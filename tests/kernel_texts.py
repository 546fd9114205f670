"""Need-flush rules in C that the tests write themselves, and the place of a rule in a tree."""

from pathlib import Path
from typing import Final

HEADER: Final = "arch/x86/include/asm/tlbflush.h"

RULE: Final = """
static inline bool needs(unsigned long old, unsigned long new)
{
	const unsigned long watched = _PAGE_PRESENT | _PAGE_RW | _PAGE_NX;

	BUILD_BUG_ON(watched & _PAGE_ACCESSED);
	return (old ^ new) & watched;
}

static inline bool pte_needs_flush(pte_t old, pte_t new)
{
	if (!(pte_flags(old) & _PAGE_PRESENT))
		return false;
	return pte_pfn(old) != pte_pfn(new) || needs(pte_flags(old), pte_flags(new));
}
#define pte_needs_flush pte_needs_flush
"""
"""A rule that flushes for changes of P, RW, NX and of the frame of an entry that was present."""


def tree(folder: Path, text: str = RULE, release: tuple[int, int] | None = (6, 99)) -> Path:
    """Make a folder with the one file that a rule needs, and a Makefile if there is a release; return it."""
    header = folder / HEADER
    header.parent.mkdir(parents=True, exist_ok=True)
    header.write_text(text)
    if release:
        version, level = release
        (folder / "Makefile").write_text(f"VERSION = {version}\nPATCHLEVEL = {level}\n")
    return folder
