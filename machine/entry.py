"""Bits of an x86-64 page-table entry, at their architectural positions.

Every constant is the mask of one bit of a 64-bit PTE or PMD leaf.
Source: Intel SDM vol. 3A section 4.5 for the hardware bits, Linux pgtable_types.h for its use of the bits that the
hardware ignores.
"""

from typing import Final

PRESENT: Final = 1 << 0
RW: Final = 1 << 1
USER: Final = 1 << 2
PWT: Final = 1 << 3
PCD: Final = 1 << 4
ACCESSED: Final = 1 << 5
DIRTY: Final = 1 << 6
PSE: Final = 1 << 7
"""Page size, in a PMD entry: the entry is a leaf of 2 MiB."""
PAT: Final = 1 << 7
"""Memory type, in a 4 KiB PTE: the same bit as PSE."""
GLOBAL: Final = 1 << 8
PROTNONE: Final = GLOBAL
"""Linux's mark, with PRESENT clear, of a mapping that no access may use."""
SOFTW1: Final = 1 << 9
SOFTW2: Final = 1 << 10
UFFD_WP: Final = SOFTW2
SOFTW3: Final = 1 << 11
SOFT_DIRTY: Final = SOFTW3
PAT_LARGE: Final = 1 << 12
"""Memory type, in a leaf of 2 MiB; bit 0 of the frame number in a 4 KiB PTE."""
BIT57: Final = 1 << 57
"""SOFTW4 since Linux 6.6, unused before."""
BIT58: Final = 1 << 58
"""SAVED_DIRTY (SOFTW5) since Linux 6.6, SOFTW4 (DEVMAP) before."""
PKEY: Final = 0xF << 59
PKEY_SHIFT: Final = 59
"""The position of the protection key."""
NX: Final = 1 << 63

PFN_MASK: Final = ((1 << 52) - 1) & ~0xFFF
"""Bits 12 to 51: the frame number."""

# A non-present, non-zero entry that is neither PROTNONE nor an invalidated PMD is a migration entry, a swap entry or a
# marker.
# Linux packs a swap type and an inverted offset; the layout below keeps the frame number in place instead, because
# rules look only at PRESENT, PROTNONE and, in bits 1 to 3, the swap forms of SOFT_DIRTY, UFFD_WP and PageAnonExclusive
# of such an entry.
MIGRATION: Final = 1 << 61
MIGRATION_WRITE: Final = 1 << 60
MIGRATION_DIRTY: Final = 1 << 59
SWAP: Final = 1 << 62
"""The mark, with PRESENT clear, of a swap entry, which has its slot in the place of the frame number.

Linux distinguishes the two kinds by the swap type, in bits 59 to 63; MIGRATION and its two companions are three bits of
that field, and this is another one, so that neither kind is taken for the other.
An invalidated PMD keeps its protection key, in bits 59 to 62; no key of a region (machine.pkru) reaches bit 61.
"""
UFFD_WP_MARKER: Final = 1 << 63
"""The whole of an entry that has no page but is write-protected for userfaultfd (make_pte_marker of
PTE_MARKER_UFFD_WP); it is in the place of a swap type too.
"""
SWP_UFFD_WP: Final = USER
SWP_SOFT_DIRTY: Final = RW
SWP_EXCLUSIVE: Final = PWT
"""_PAGE_SWP_EXCLUSIVE: no other process has the page of the swap entry, even if its folio has other references."""

# Kinds of access, and rights in a VMA: the same three bits.
READ: Final = 1
WRITE: Final = 2
EXEC: Final = 4
