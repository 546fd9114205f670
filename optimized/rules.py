"""Need-flush rules, which say whether replacing one page-table entry by another needs a TLB flush.

A rule is a function of two entries, the old one as the atomic exchange returned it, and the new one.
Each version of Linux's rule is rebuilt from its masks (linux-tlb A.2); the two minimal rules are derived from the
correctness rules, one for each page-fault handler.
"""

from typing import Final

from shootdown.machine.entry import (
    ACCESSED,
    BIT57,
    BIT58,
    DIRTY,
    GLOBAL,
    NX,
    PAT,
    PAT_LARGE,
    PCD,
    PFN_MASK,
    PKEY,
    PRESENT,
    PSE,
    PWT,
    RW,
    SOFTW1,
    SOFTW2,
    SOFTW3,
    USER,
)

SOFTWARE: Final = SOFTW1 | SOFTW2 | SOFTW3
KNL_ERRATUM: Final = DIRTY | ACCESSED
"""The bits that some processors set in a non-present entry (X86_BUG_PTE_LEAK); pte_none ignores them."""
MINIMAL_ON_CHANGE: Final = PFN_MASK | PWT | PCD | PAT | PKEY
"""The frame, its memory type and its protection key."""
MINIMAL_ON_CLEAR: Final = RW | USER | DIRTY


def always(_old: int, _new: int) -> bool:
    """Flush at every change: the default of architectures without a rule (asm-generic/tlb.h)."""
    return True


V1_ENABLE: Final = RW | DIRTY | GLOBAL
V1_ALWAYS: Final = ~(V1_ENABLE | NX | SOFTWARE | ACCESSED)


def v1(old: int, new: int) -> bool:
    """Decide as pte_may_need_flush of 25 September 2021 (20210925205423.168858-3).

    Setting RW, DIRTY or GLOBAL and clearing NX is promotion and needs no flush; ACCESSED and three software bits never
    need one; every other difference does, also in PRESENT, the frame number and bits 52 to 62.
    """
    if not new & ~KNL_ERRATUM:
        return bool(old & ~KNL_ERRATUM)
    difference = old ^ new
    return bool(difference & (old & V1_ENABLE | new & NX | V1_ALWAYS))


def v3(old: int, new: int, *, ignore_accessed: bool = True) -> bool:
    """Decide as pte_needs_flush of the v3 resend of 11 March 2022 (20220311190749.338281-5).

    It is the last version that skips promotion.
    """
    if not old & PRESENT:
        return False
    if not new & PRESENT:
        return True
    if (old ^ new) & PFN_MASK:
        return True
    software = SOFTWARE | BIT58 | GLOBAL | (ACCESSED if ignore_accessed else 0)
    on_clear = RW | DIRTY | PRESENT | (0 if ignore_accessed else ACCESSED)
    on_set = NX
    difference = (old ^ new) & ~software
    if difference & old & on_clear or difference & new & on_set:
        return True
    return bool(difference & ~(on_clear | on_set | software))


def v3_huge(old: int, new: int) -> bool:
    """Decide as huge_pmd_needs_flush of the v3 resend, in which clearing ACCESSED counts."""
    return v3(old, new, ignore_accessed=False)


LEAF_SIZE: Final = 1 << 21
"""The number of bytes that a leaf of a PMD maps."""
FLUSH_ON_CLEAR: Final = DIRTY | PRESENT | ACCESSED
FLUSH_ON_CHANGE: Final = RW | USER | PWT | PCD | PSE | GLOBAL | PAT_LARGE | PKEY | NX


def _upstream(old: int, new: int, software: int, *, huge: bool) -> bool:
    """Decide as pte_needs_flush as merged.

    It flushes on clearing D, P (A of a huge PMD), and on any change of a right or attribute.

    A change of a bit that is in no list needs no flush in a production build and warns in a debug build
    (CONFIG_DEBUG_VM); the model is the production build.
    """
    if not old & PRESENT:
        return False
    if (old ^ new) & PFN_MASK and (not huge or _pmd_pfn(old) != _pmd_pfn(new)):
        return True
    difference = (old ^ new) & ~software
    if not huge:
        difference &= ~ACCESSED
    return bool(difference & (old & FLUSH_ON_CLEAR | FLUSH_ON_CHANGE))


def _pmd_pfn(pmd: int) -> int:
    """Return the frame number of a PMD; bits 13 to 20 of a leaf are reserved, and no part of it (pmd_pfn_mask)."""
    return pmd & (PFN_MASK & -LEAF_SIZE if pmd & PSE else PFN_MASK)


SOFTWARE_5_19: Final = SOFTWARE | BIT58
SOFTWARE_NEWEST: Final = SOFTWARE | BIT57 | BIT58


def linux_5_19(old: int, new: int) -> bool:
    """Decide as pte_needs_flush of v5.19 (c9fe66560bf2).

    RW and NX flush in either direction, which avoids spurious faults.
    """
    return _upstream(old, new, SOFTWARE_5_19, huge=False)


def linux_5_19_huge(old: int, new: int) -> bool:
    """Decide as huge_pmd_needs_flush of v5.19 (4f83145721f3), in which clearing ACCESSED counts."""
    return _upstream(old, new, SOFTWARE_5_19, huge=True)


def linux(old: int, new: int) -> bool:
    """Decide as the newest pte_needs_flush: as v5.19, with SAVED_DIRTY among the software bits (since v6.6)."""
    return _upstream(old, new, SOFTWARE_NEWEST, huge=False)


def linux_huge(old: int, new: int) -> bool:
    """Decide as the newest huge_pmd_needs_flush."""
    return _upstream(old, new, SOFTWARE_NEWEST, huge=True)


def minimal_exec_check(old: int, new: int) -> bool:
    """Skip exactly if no grant is lost, DIRTY is not cleared and caching is the same.

    This is the weakest rule that C1 to C6 permit under a page-fault handler that tests VM_EXEC. It relies on C2: the
    fault handler heals a denial by a stale, tighter entry (correctness.md section 6).
    """
    if not old & PRESENT:
        return False
    if not new & PRESENT or (old ^ new) & MINIMAL_ON_CHANGE:
        return True
    return bool(old & ~new & MINIMAL_ON_CLEAR or new & ~old & NX)


def minimal(old: int, new: int) -> bool:
    """Flush as minimal_exec_check does, and for clearing NX as well.

    This is the weakest rule that C1 to C6 permit under Linux's page-fault handler, which signals a fetch that a stale
    NX denies.
    """
    return minimal_exec_check(old, new) or bool(old & PRESENT and old & ~new & NX)


def rfc_2021(old: int, new: int) -> bool:
    """Decide as pte_may_need_flush of the RFC of 31 January 2021 (20210131001132.3368247-4).

    It is v1 with the clean-entry shortcut: if only RW, DIRTY, ACCESSED and software bits change, an old entry that is
    writable and clean needs no flush, also if RW is cleared.
    """
    if not new & ~KNL_ERRATUM:
        return bool(old & ~KNL_ERRATUM)
    difference = old ^ new
    if not difference & ~(RW | DIRTY | ACCESSED | SOFTWARE) and old & (RW | DIRTY) == RW:
        return False
    return bool(difference & (old & V1_ENABLE | new & NX | V1_ALWAYS))


RFC_2022_ON_CHANGE: Final = USER | PWT | PCD | PSE | GLOBAL | PAT_LARGE | PKEY


def rfc_2022_strict(old: int, new: int, *, ignore_accessed: bool = True) -> bool:
    """Return whether patch 12/14 of the RFC of July 2022 (20220718120212.3180-1) flushes every CPU.

    Clearing RW counts only if the old entry is dirty; setting RW and clearing NX never do.
    """
    if not old & PRESENT:
        return False
    if (old ^ new) & PFN_MASK:
        return True
    on_clear = DIRTY | PRESENT | (0 if ignore_accessed else ACCESSED) | (RW if old & DIRTY else 0)
    difference = old ^ new
    return bool(difference & (old & on_clear | new & NX | RFC_2022_ON_CHANGE))


def rfc_2022_relaxed(old: int, new: int) -> bool:
    """Return whether the same patch flushes at least the local CPU: also for setting RW and for clearing NX."""
    promoted = new & ~old & RW | old & ~new & NX
    return rfc_2022_strict(old, new) or bool(old & PRESENT and promoted)


def powerpc_radix(old: int, new: int) -> bool:
    """Decide as pte_needs_flush of powerpc's radix MMU, with RW and NX for its write and execute bits.

    Any change outside the rights, D and A needs a flush, also of software bits and PRESENT; clearing D or taking a
    right away needs one too.
    """
    difference = old ^ new
    if difference & ~(RW | NX | DIRTY | ACCESSED):
        return True
    return bool(difference & (old & (RW | DIRTY) | new & NX))


def arm64(old: int, new: int) -> bool:
    """Decide as pte_needs_flush of arm64 since v6.19.

    An entry that was not valid needs no flush, and neither do software bits; every other change does, also a promotion.
    """
    return bool(old & PRESENT and (old ^ new) & ~SOFTWARE_NEWEST)
