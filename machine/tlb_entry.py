"""The TLB entry: one integer, `incarnation << INCARNATION_AT | flags`.

The incarnation is `generation << GENERATION_AT | frame`; hardware knows only the frame, and the oracle reads the
generation.
The flags are RW, USER and DIRTY at their PTE positions, TLB_NX in bit 7, TLB_GLOBAL in bit 0 and the protection key in
bits 3 and 4 (machine.pkru); bit 5 marks a piece of a leaf of 2 MiB (TLB_PIECE).
"""

from typing import Final

from shootdown.machine.entry import EXEC, READ, RW

INCARNATION_AT: Final = 8
GENERATION_AT: Final = 6

TLB_GLOBAL: Final = 1
TLB_NX: Final = 0x80
TLB_PKEY: Final = 0x18
TLB_PKEY_AT: Final = 3
TLB_PIECE: Final = 0x20
"""The mark of a translation of 4 KiB that is part of a leaf of 2 MiB in memory."""


def tlb_grants(entry: int) -> int:
    """Return the kinds of access that a TLB entry grants, if its key does: a union of READ, WRITE and EXEC."""
    return READ | entry & RW | (0 if entry & TLB_NX else EXEC)


def tlb_key(entry: int) -> int:
    """Return the protection key of a TLB entry."""
    return entry >> TLB_PKEY_AT & 3
