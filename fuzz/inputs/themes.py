"""Groups of operations that share state, because a race is between two that do.

Of thirty kinds two or three drawn at random are a given pair once in a hundred scenarios, and a race needs its pair,
the right layout and the right pauses together: with kinds drawn freely move-before-mkclean, pmd-unchecked and
pmd-none-before-copy came up in none of 60,000 scenarios; among those of their theme they do in 8, 11 and 2 of 10,000.
"""

from typing import Final, NamedTuple

from shootdown.scenario.kinds import (
    AGE,
    CLEAR_REFS,
    COLLAPSE,
    COPY,
    DONTNEED,
    EXIT,
    FORK,
    FREE,
    KSM,
    LAZY,
    MIGRATE,
    MPROTECT,
    MREMAP,
    MUNMAP,
    NUMA_SCAN,
    PIN,
    PKEY_MPROTECT,
    POKE,
    PUNCH,
    RECLAIM,
    REVOKE,
    SHRINK,
    SWAPOUT,
    SWITCH,
    TICK,
    UFFD_UNWP,
    UFFD_WP,
    WRITEBACK,
    WRPKRU,
)


class Theme(NamedTuple):
    """Kinds of operation, and what they meet in."""

    shared: str
    kinds: tuple[int, ...]
    cpus: int = 1
    """How many CPUs its deepest race has, each with another part in it."""
    weight: int = 1
    """How often it is drawn; more than once where the race of the catalogue that takes longest is one of its."""


THEMES: Final = (
    Theme("rights of an entry", (MPROTECT, UFFD_WP, UFFD_UNWP, NUMA_SCAN, CLEAR_REFS, FORK, AGE)),
    Theme("rmap of a page of the file", (WRITEBACK, PUNCH, MREMAP, DONTNEED, MUNMAP)),
    Theme("write of a page of the file", (WRITEBACK, SWAPOUT, PIN)),
    Theme("a page with a reference", (UFFD_WP, UFFD_UNWP, MIGRATE, PIN), cpus=5, weight=2),
    Theme("a page that goes", (SWAPOUT, RECLAIM, FREE, DONTNEED, MPROTECT, MREMAP)),
    Theme("a page that is copied", (SWAPOUT, MIGRATE, PIN, FORK)),
    Theme("content of two pages", (KSM, COPY)),
    Theme("hint of a page", (NUMA_SCAN, DONTNEED, MIGRATE, MPROTECT), weight=2),
    Theme("PMD of a huge page", (NUMA_SCAN, DONTNEED, FREE, CLEAR_REFS, MREMAP)),
    Theme("huge zero page", (SHRINK, MUNMAP, DONTNEED, MPROTECT)),
    Theme("protection keys", (PKEY_MPROTECT, WRPKRU, MPROTECT, NUMA_SCAN)),
    Theme("pages of a driver", (REVOKE, MUNMAP, MREMAP, FORK)),
    Theme("page table under a walker", (COLLAPSE, PIN, DONTNEED, LAZY, MREMAP)),
    Theme("page table of a lazy CPU", (MUNMAP, LAZY, UFFD_WP), weight=2),
    Theme("loaded address space", (SWITCH, LAZY, EXIT, POKE, FORK, TICK)),
)
DRAWN: Final = tuple(theme for theme in THEMES for _ in range(theme.weight))
"""The themes, repeated by weight."""
