"""The differences between two need-flush rules: over all changes of the flags, and over each bit of an entry.

A rule is called for every pair of entries with any of FLAGS, exhaustively, and for every entry that differs from one of
BASES in one or two of its 64 bits.
The classes are the smallest changes about which the rules differ; a change that contains one of them adds nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from shootdown.machine.entry import (
    ACCESSED,
    BIT58,
    DIRTY,
    GLOBAL,
    MIGRATION,
    NX,
    PRESENT,
    PSE,
    RW,
    SOFT_DIRTY,
    SWAP,
    UFFD_WP,
    USER,
)
from shootdown.machine.geometry import FRAME_BITS
from shootdown.optimized.policy import Policy
from shootdown.table.changes import OLD_FRAME, flag_name
from shootdown.table.need import NO, WITHOUT_REWALK, YES, need_of
from shootdown.table.rows import handling_of

FLAGS: Final = (PRESENT, RW, USER, ACCESSED, DIRTY, GLOBAL, UFFD_WP, SOFT_DIRTY, BIT58, NX)
"""The flags of which every combination is tried, before and after the change."""
_FRAME: Final = FRAME_BITS[OLD_FRAME]
BASES: Final = (
    0,
    _FRAME | PRESENT | USER,
    _FRAME | PRESENT | USER | RW,
    _FRAME | PRESENT | USER | ACCESSED,
    _FRAME | PRESENT | USER | RW | ACCESSED | DIRTY,
    _FRAME | PRESENT | USER | RW | ACCESSED | DIRTY | NX,
    _FRAME | GLOBAL | ACCESSED,
    _FRAME | MIGRATION,
    _FRAME | SWAP,
)
"""One entry or more of each kind."""

_NUMBERED: Final = re.compile(r"bit (\d+) (set|cleared)")
CONTEXTS: Final = 256
"""The number of pairs of a class for which the search decides whether the flush is needed."""


@dataclass(frozen=True, slots=True)
class Class:
    """A smallest change about which the rules differ, and an example.

    `huge`: whether the entries are of 2 MiB.
    `changes`: its words; bits without a name about which the rules differ in the same way form one class.
    `old`, `new`: the example.
    `flushing`: 0 if the first rule flushes for the example, and 1 if the second does.
    `pairs`: the number of pairs that show exactly one of these changes.
    `differ`: the number of those pairs in which the rules differ.
    `needed`: whether the flush is needed, as in the table: in the worst of the contexts, which is the example.
    """

    huge: bool
    changes: tuple[str, ...]
    old: int
    new: int
    flushing: int
    pairs: int
    differ: int
    needed: str

    @property
    def safe(self) -> bool:
        """Whether the rule that does not flush may do so."""
        return self.needed != YES


@dataclass(frozen=True, slots=True)
class Agreement:
    """The result of a comparison of two rules: the number of pairs of entries, and the differences."""

    pairs: int
    differ: int
    classes: tuple[Class, ...]


def agreement_of(one: Policy, other: Policy) -> Agreement:
    """Compare the rules of two policies, for entries of both sizes."""
    tried = 0
    found: dict[tuple[bool, int, int], list[tuple[int, int]]] = {}
    for huge in (False, True):
        for old, new in _pairs(huge=huge):
            tried += 1
            if one.flushes(old, new, huge=huge) != other.flushes(old, new, huge=huge):
                found.setdefault((huge, new & ~old, old & ~new), []).append((old, new))
    smallest = [
        key
        for key in found
        if not any(
            less != key and less[0] == key[0] and not less[1] & ~key[1] and not less[2] & ~key[2]
            for less in found
        )
    ]
    alike: dict[tuple[bool, int, int], int] = dict.fromkeys(smallest, 0)
    for huge in {key[0] for key in smallest}:
        for old, new in _pairs(huge=huge):
            key = (huge, new & ~old, old & ~new)
            if key in alike:
                alike[key] += 1
    parts = [_class(one, key, found[key], alike[key]) for key in sorted(smallest)]
    return Agreement(tried, sum(map(len, found.values())), tuple(_merged(parts)))


def _class(
    one: Policy, key: tuple[bool, int, int], pairs: list[tuple[int, int]], alike: int
) -> Class:
    huge, set_, cleared = key
    handling = handling_of(one)
    # Linux's entries of user pages have US, and G only while they are not present.
    usual = [(old, new) for old, new in pairs if old & USER and not old & new & GLOBAL] or pairs
    # The search takes milliseconds for each pair; its result depends only on the flags.
    needs = [need_of(*pair, huge=huge, handling=handling).needed for pair in usual[:CONTEXTS]]
    worst = min(needs, key=(YES, WITHOUT_REWALK, NO).index)
    old, new = usual[needs.index(worst)]
    first = one.flushes(old, new, huge=huge)
    words = _words(set_, cleared, huge=huge)
    return Class(huge, (words,), old, new, 0 if first else 1, alike, len(pairs), worst)


def _merged(parts: list[Class]) -> list[Class]:
    """Return the classes, with those merged that differ only in the number of a bit."""
    groups: dict[tuple[object, ...], list[Class]] = {}
    for part in parts:
        numbered = _NUMBERED.fullmatch(part.changes[0])
        like = (part.huge, part.flushing, part.pairs, part.differ, part.needed)
        groups.setdefault((*like, numbered[2] if numbered else part.changes[0]), []).append(part)
    return [
        replace(
            group[0],
            changes=tuple(words for part in group for words in part.changes),
            pairs=sum(part.pairs for part in group),
            differ=sum(part.differ for part in group),
        )
        for group in groups.values()
    ]


def _words(set_: int, cleared: int, *, huge: bool) -> str:
    return ", ".join(
        f"{flag_name(1 << bit, huge=huge)} {word}"
        for mask, word in ((cleared, "cleared"), (set_, "set"))
        for bit in range(64)
        if mask >> bit & 1
    )


def _pairs(*, huge: bool) -> Iterator[tuple[int, int]]:
    """Yield every pair of entries that is tried, once."""
    size = PSE if huge else 0
    entries = [
        _FRAME | size | sum(flag for i, flag in enumerate(FLAGS) if number >> i & 1)
        for number in range(1 << len(FLAGS))
    ]
    for old in entries:
        for new in entries:
            yield old, new
    seen = set(entries)
    flips = [1 << bit for bit in range(64)]
    flips += [one | other for one, other in combinations(flips, 2)]
    for base in BASES:
        # An entry that maps nothing has no size.
        old = base | size if base & PRESENT else base
        for flip in flips:
            new = old ^ flip
            if not (old in seen and new in seen):
                yield old, new
                yield new, old
