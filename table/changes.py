"""The classes of changes of an entry about which a need-flush rule may be asked: the rows of the table.

A class is one change in every context: each of RW, D, A and NX that the change itself leaves alone is once set and once
clear.
"""

from collections.abc import Callable, Iterator
from itertools import combinations, groupby, product
from typing import Final, NamedTuple

from shootdown.machine.entry import (
    ACCESSED,
    BIT57,
    BIT58,
    DIRTY,
    GLOBAL,
    MIGRATION,
    MIGRATION_DIRTY,
    MIGRATION_WRITE,
    NX,
    PAT,
    PAT_LARGE,
    PFN_MASK,
    PKEY,
    PRESENT,
    PROTNONE,
    PSE,
    RW,
    SOFT_DIRTY,
    SOFTW1,
    SWAP,
    UFFD_WP,
    USER,
)
from shootdown.machine.geometry import FRAME_BITS
from shootdown.mm.flags import ENTRY_FLAGS
from shootdown.mm.tables import is_swap
from shootdown.mm.thp import mkinvalid

OLD_FRAME: Final = 40
NEW_FRAME: Final = 44
"""Both frames begin a block of 2 MiB, so they fit entries of either size."""

CONTEXT: Final = (RW, DIRTY, ACCESSED, NX)
"""Flags that decide what a cached translation grants, and how the processor uses it."""

SOFTWARE: Final = SOFTW1 | UFFD_WP | SOFT_DIRTY | BIT57 | BIT58 | 0x1F << 52
"""Bits of a present entry that the processor ignores (SDM 4.5)."""

ONE_FLAG: Final = "one flag"
TWO_FLAGS: Final = "two flags"
TOGETHER: Final = "changed together"
PRESENCE: Final = "present, or not"


class Change(NamedTuple):
    """One class of changes, for an entry of 4 KiB or 2 MiB (`huge`).

    `free`: the flags of CONTEXT that the change leaves alone.
    `cases`: `cases[i]` has the flags set whose bits are set in i.
    `family`: neighbours with the same family and the same cells may be shown as one row, under this name.
    """

    name: str
    group: str
    huge: bool
    free: tuple[int, ...]
    cases: tuple[tuple[int, int], ...]
    family: str = ""


def all_changes() -> list[Change]:
    """Return every class of changes in the order of the table; those of 4 KiB come first."""
    return [
        change
        for huge in (False, True)
        for group in (_one_flag, _two_flags, _together, _presence)
        for change in group(huge=huge)
    ]


def flag_name(bit: int, *, huge: bool) -> str:
    """Return the name of a bit of a leaf entry; a bit without a name gets its number."""
    if bit == (PAT_LARGE if huge else PAT):
        return "PAT"
    if bit & PKEY:
        return f"PKEY{(bit // (PKEY & -PKEY)).bit_length() - 1}"
    names = dict(ENTRY_FLAGS)
    return names.get(bit) or f"bit {bit.bit_length() - 1}"


def describe(entry: int, *, huge: bool) -> str:
    """Return an entry of the table in words: none, what replaces a page, or P and its flags."""
    if not entry:
        return "none"
    frame = "" if entry & PFN_MASK & ~PAT_LARGE == FRAME_BITS[OLD_FRAME] else "new PFN"
    if entry & PRESENT:
        kind = "P"
    elif is_swap(entry):
        return "swap"
    elif entry & MIGRATION:
        return " ".join(["migration", *(["write"] if entry & MIGRATION_WRITE else [])])
    elif entry & PROTNONE:
        kind = "PROTNONE"
    else:
        kind = "invalid"
    bits = [USER, RW, ACCESSED, DIRTY, PAT_LARGE if huge else PAT]
    bits += [mask for mask, _ in ENTRY_FLAGS if mask not in (*bits, PRESENT, PSE, PROTNONE, PKEY)]
    bits += [GLOBAL] if entry & PRESENT else []
    bits += [1 << bit for bit in (*range(52, 57), *range(59, 63))]
    words = [flag_name(bit, huge=huge) for bit in dict.fromkeys(bits) if entry & bit]
    return " ".join(filter(None, [kind, *words, frame]))


def _page(huge: int) -> int:
    return PRESENT | USER | FRAME_BITS[OLD_FRAME] | (PSE if huge else 0)


def _contexts(free: tuple[int, ...]) -> Iterator[int]:
    for number in range(1 << len(free)):
        yield sum(bit for i, bit in enumerate(free) if number >> i & 1)


def _flags(
    name: str,
    group: str,
    *,
    huge: bool,
    set_: int,
    cleared: int,
    moved: bool = False,
    family: str = "",
) -> Change:
    """Return the class in which the bits `set_` and `cleared` change, and the frame too if the page is `moved`."""
    free = tuple(bit for bit in CONTEXT if not bit & (set_ | cleared))
    base = _page(huge)
    cases = []
    for context in _contexts(free):
        old = (base | context) & ~set_ | cleared
        new = old & ~cleared | set_
        if moved:
            new = new & ~FRAME_BITS[OLD_FRAME] | FRAME_BITS[NEW_FRAME]
        cases.append((old, new))
    return Change(name, group, huge, free, tuple(cases), family)


def _one_flag(*, huge: bool) -> Iterator[Change]:
    """Return the classes for every bit of a present leaf outside the frame number: one bit alone, set or cleared."""
    pat = PAT_LARGE if huge else PAT
    pkeys = [1 << bit for bit in range(59, 63)]
    numbered = [1 << bit for bit in range(52, 57)]
    kept = [bit for bit, _ in ENTRY_FLAGS if bit not in (PRESENT, PSE, PKEY, NX, BIT57, BIT58)]
    order = [*kept, pat, *numbered, BIT57, BIT58, *pkeys, NX]
    families = dict.fromkeys(pkeys, "a PKEY bit") | dict.fromkeys(numbered, "a bit of 52 to 56")
    for name, bits in groupby(order, key=lambda bit: families.get(bit, flag_name(bit, huge=huge))):
        members = list(bits)
        for word, bit in product(("set", "cleared"), members):
            set_, cleared = (bit, 0) if word == "set" else (0, bit)
            title = f"{flag_name(bit, huge=huge)} {word}"
            family = f"{name} {word}" if bit in families else ""
            yield _flags(title, ONE_FLAG, huge=huge, set_=set_, cleared=cleared, family=family)


def _two_flags(*, huge: bool) -> Iterator[Change]:
    for one, other in combinations((RW, NX, ACCESSED, DIRTY), 2):
        for first, second in product((True, False), repeat=2):
            set_ = one * first | other * second
            words = [
                f"{flag_name(bit, huge=huge)} {'set' if is_set else 'cleared'}"
                for bit, is_set in ((one, first), (other, second))
            ]
            cleared = (one | other) & ~set_
            yield _flags(", ".join(words), TWO_FLAGS, huge=huge, set_=set_, cleared=cleared)


def _together(*, huge: bool) -> Iterator[Change]:
    for name, set_, cleared, moved in (
        ("RW, D cleared, SAVED_DIRTY set", BIT58, RW | DIRTY, False),
        ("RW cleared, UFFD_WP set", UFFD_WP, RW, False),
        ("RW set, UFFD_WP cleared", RW, UFFD_WP, False),
        ("PFN changed", 0, 0, True),
        ("PFN changed, RW set", RW, 0, True),
        ("PFN changed, RW cleared", 0, RW, True),
    ):
        yield _flags(name, TOGETHER, huge=huge, set_=set_, cleared=cleared, moved=moved)


def _presence(*, huge: bool) -> Iterator[Change]:
    rows: list[tuple[str, Callable[[int], int], Callable[[int], int]]] = [
        ("none -> present", _none, _moved),
        ("present -> none", _same, _none),
        ("present -> PROTNONE", _same, _protnone),
        ("PROTNONE -> present", _protnone, _same),
        ("PROTNONE -> none", _protnone, _none),
        ("present -> migration", _same, _migration),
        ("migration -> present", _migration, _moved),
        ("present -> swap", _same, _swap),
        ("swap -> present", _swap, _moved),
        ("swap -> none", _swap, _none),
    ]
    if huge:
        rows += [("present -> invalid", _same, mkinvalid), ("invalid -> present", mkinvalid, _same)]
    for name, old_of, new_of in rows:
        pages = [_page(huge) | context for context in _contexts(CONTEXT)]
        cases = tuple((old_of(page), new_of(page)) for page in pages)
        yield Change(name, PRESENCE, huge, CONTEXT, cases)


def _same(page: int) -> int:
    return page


def _none(_page: int) -> int:
    return 0


def _moved(page: int) -> int:
    return page & ~FRAME_BITS[OLD_FRAME] | FRAME_BITS[NEW_FRAME]


def _protnone(page: int) -> int:
    """Return PAGE_NONE with the bits of the page that pte_modify keeps (linux-tlb A.1)."""
    return page & (PFN_MASK | PSE | DIRTY) | ACCESSED | PROTNONE


def _migration(page: int) -> int:
    write = MIGRATION_WRITE if page & RW else 0
    return FRAME_BITS[OLD_FRAME] | MIGRATION | write | (MIGRATION_DIRTY if page & DIRTY else 0)


def _swap(_page: int) -> int:
    return FRAME_BITS[OLD_FRAME] | SWAP
