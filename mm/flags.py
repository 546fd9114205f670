"""Page-table and TLB entries in words, with the flag names that kernel developers use."""

from collections.abc import Sequence
from typing import Final

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
    PCD,
    PFN_MASK,
    PKEY,
    PKEY_SHIFT,
    PRESENT,
    PSE,
    PWT,
    RW,
    SOFT_DIRTY,
    SOFTW1,
    SWP_SOFT_DIRTY,
    SWP_UFFD_WP,
    UFFD_WP,
    USER,
)
from shootdown.machine.geometry import FRAME_MASK, frame_of
from shootdown.machine.tlb_entry import GENERATION_AT, INCARNATION_AT, TLB_GLOBAL, TLB_NX, tlb_key
from shootdown.mm.observer import KEY_SHIFT
from shootdown.mm.tables import is_marker, is_swap

ENTRY_FLAGS: Final = (
    (PRESENT, "P"),
    (RW, "RW"),
    (USER, "US"),
    (PWT, "PWT"),
    (PCD, "PCD"),
    (ACCESSED, "A"),
    (DIRTY, "D"),
    (PSE, "PSE"),
    (GLOBAL, "G"),
    (SOFTW1, "SPECIAL"),
    (UFFD_WP, "UFFD_WP"),
    (SOFT_DIRTY, "SOFT_DIRTY"),
    (BIT57, "SOFTW4"),
    (BIT58, "SAVED_DIRTY"),
    (PKEY, "PKEY"),
    (NX, "NX"),
)
"""The flags of a present entry, from bit 0 up; the bit of PSE is PAT in a 4 KiB entry."""

_MIGRATION_FLAGS: Final = (
    (MIGRATION_WRITE, "write"),
    (MIGRATION_DIRTY, "dirty"),
    (SWP_UFFD_WP, "UFFD_WP"),
)

_SWAP_FLAGS: Final = ((SWP_SOFT_DIRTY, "SOFT_DIRTY"), (SWP_UFFD_WP, "UFFD_WP"))


def names(entry: int) -> list[str]:
    """Return the names of the flags that are set in a present entry, from bit 0 up, with the number of the key."""
    return [
        f"{name}{entry >> PKEY_SHIFT & 15}" if bit == PKEY else name
        for bit, name in ENTRY_FLAGS
        if entry & bit
    ]


def changes(old: int, new: int) -> list[str]:
    """Return the differences, in a fixed order: `PFN-changed`, then each flag as `RW-cleared` or `NX-set`.

    If PRESENT changes, it is the only one, because the other bits then have another meaning.
    The words are stable: they are part of a finding's identity.
    """
    if (old ^ new) & PRESENT:
        return ["P-set" if new & PRESENT else "P-cleared"]
    words = ["PFN-changed"] if (old ^ new) & PFN_MASK else []
    for bit, name in ENTRY_FLAGS:
        if (old ^ new) & bit:
            words.append(f"{name}-{'set' if new & bit else 'cleared'}")
    return words


def describe_entry(entry: int) -> str:
    """Return a leaf entry in words: frame and flags, and US only if it is missing, because user pages have it."""
    if not entry:
        return "none"
    frame = f"f{frame_of(entry)}"
    if entry & PRESENT:
        words = [name for name in names(entry) if name != "US"]
        return " ".join([frame, *words, *([] if entry & USER else ["no-US"])])
    if entry & MIGRATION:
        return " ".join(
            ["migration", frame, *[name for bit, name in _MIGRATION_FLAGS if entry & bit]]
        )
    if is_marker(entry):
        return "marker UFFD_WP"
    if is_swap(entry):
        words = [name for bit, name in _SWAP_FLAGS if entry & bit]
        return " ".join(["swap", f"s{frame_of(entry)}", *words])
    if entry & GLOBAL:
        return " ".join([frame, "PROTNONE", *[n for n in names(entry) if n not in ("G", "US")]])
    return " ".join([frame, "not-P", *[name for name in names(entry) if name != "US"]])


def describe_tlb(entry: int) -> str:
    """Return a TLB entry in words: incarnation (frame#generation), rights, its key if it has one, and D if it is cached
    as dirty.
    """
    rights = "r" + ("w" if entry & RW else "-") + ("-" if entry & TLB_NX else "x")
    words = [incarnation(entry >> INCARNATION_AT), rights]
    if tlb_key(entry):
        words.append(f"PKEY{tlb_key(entry)}")
    if entry & DIRTY:
        words.append("D")
    if entry & TLB_GLOBAL:
        words.append("G")
    return " ".join(words)


def incarnation(value: int) -> str:
    """Return `generation << 6 | frame` in the form `f3#2`."""
    return f"f{value & FRAME_MASK}#{value >> GENERATION_AT}"


def rights_text(kinds: int) -> str:
    """Return a union of READ, WRITE and EXEC in the form `rw-`."""
    return "".join(letter if kinds >> bit & 1 else "-" for bit, letter in enumerate("rwx"))


def space(mm: int) -> str:
    """Return the words before a page that name its address space, none for the first one."""
    return f"mm{mm} " if mm else ""


def place(mm: int, page: int) -> str:
    """Return `p0`, or `mm1 p0` outside the first address space."""
    return f"{space(mm)}p{page}"


def pages_text(pages: Sequence[int]) -> str:
    """Return `p0` for one page, `p0-p3` for consecutive pages, `p0, p2` for others."""
    if len(pages) > 1 and list(pages) == list(range(pages[0], pages[0] + len(pages))):
        return f"p{pages[0]}-p{pages[-1]}"
    return ", ".join(f"p{page}" for page in pages)


def region_text(rights: int) -> str:
    """Return the rights of a region, `none` for no region."""
    if rights < 0:
        return "none"
    key = rights >> KEY_SHIFT
    return f"{rights_text(rights)} k{key}" if key else rights_text(rights)
