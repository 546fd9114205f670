"""Bits of an x86-64 page-table entry, at their architectural positions.

Every constant is the mask of one bit of a 64-bit PTE or PMD leaf.
Source: Intel SDM vol. 3A section 4.5 for the hardware bits, Linux pgtable_types.h for the use it makes of the
bits that the hardware ignores.
"""

PRESENT = 1 << 0
RW = 1 << 1
USER = 1 << 2
PWT = 1 << 3
PCD = 1 << 4
ACCESSED = 1 << 5
DIRTY = 1 << 6
PSE = 1 << 7
"""Page size, in a PMD entry: the entry is a leaf of 2 MiB."""
PAT = 1 << 7
"""Memory type, in a 4 KiB PTE: the same bit as PSE."""
GLOBAL = 1 << 8
PROTNONE = GLOBAL
"""With PRESENT clear, Linux's mark of a mapping that no access may use."""
SOFTW1 = 1 << 9
SOFTW2 = 1 << 10
UFFD_WP = SOFTW2
SOFTW3 = 1 << 11
SOFT_DIRTY = SOFTW3
PAT_LARGE = 1 << 12
"""Memory type, in a leaf of 2 MiB; bit 0 of the frame number in a 4 KiB PTE."""
BIT57 = 1 << 57
"""SOFTW4 since Linux 6.6, unused before."""
BIT58 = 1 << 58
"""SAVED_DIRTY (SOFTW5) since Linux 6.6, SOFTW4 (DEVMAP) before."""
PKEY = 0xF << 59
NX = 1 << 63

PFN_MASK = ((1 << 52) - 1) & ~0xFFF
"""Bits 12 to 51: the frame number."""

# A non-present, non-zero entry that is neither PROTNONE nor an invalidated PMD is a migration entry.
# Linux packs a swap type and an inverted offset; the layout below keeps the frame number in place instead, because
# no rule looks inside such an entry except at PRESENT, PROTNONE and, in bits 1 and 2, the swap forms of SOFT_DIRTY and
# UFFD_WP.
MIGRATION = 1 << 61
MIGRATION_WRITE = 1 << 60
MIGRATION_DIRTY = 1 << 59
SWP_UFFD_WP = USER
SWP_SOFT_DIRTY = RW

# Kinds of access, and rights in a VMA: the same three bits.
READ = 1
WRITE = 2
EXEC = 4
