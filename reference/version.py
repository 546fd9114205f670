"""A version of a page as one integer, `object << 24 | key << 22 | incarnation << 3 | grants`; 0 grants nothing.

What it grants to loads and stores is granted if PKRU of the CPU that makes the access does not deny its protection key
(machine.pkru).
"""

from typing import Final

from shootdown.machine.pkru import denies
from shootdown.machine.tlb_entry import TLB_PKEY, TLB_PKEY_AT

INCARNATION: Final = 0x7FFFF
"""The bits of an incarnation: a frame is freed less than 8192 times in a run, because to map it and to free it takes
more steps than that leaves of run.execute.STEP_LIMIT."""
PLACE: Final = INCARNATION << 3
"""The incarnation of a version, in place."""
KEY_AT: Final = 22
KEY: Final = 3 << KEY_AT
"""The protection key of a version, in place."""
SEEN: Final = PLACE | KEY
"""Both: what an access can tell of the translation that it uses, beside what it grants."""


def seen(entry: int) -> int:
    """Return the incarnation and the key of a TLB entry as a version has them."""
    return (entry & TLB_PKEY) << KEY_AT - TLB_PKEY_AT | entry >> 8 << 3


def key_of(version: int) -> int:
    """Return the protection key of a version."""
    return version >> KEY_AT & 3


def key_refuses(version: int, kind: int, pkru: int) -> bool:
    """Return whether the key of a version denies an access of `kind` by a CPU with this PKRU."""
    return bool(version & KEY) and denies(pkru, key_of(version), kind)


def grants(version: int, kind: int, pkru: int) -> bool:
    """Return whether a version grants an access of `kind` to a CPU with this PKRU."""
    return bool(version & kind) and not key_refuses(version, kind, pkru)
