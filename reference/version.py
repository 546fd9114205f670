"""A version of a page as one integer; 0 grants nothing.

It is `object << OBJECT_AT | key << KEY_AT | incarnation << PLACE_AT | grants`.

What it grants to loads and stores is granted if PKRU of the CPU that makes the access does not deny its protection key
(machine.pkru).
"""

from typing import Final

from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.machine.pkru import denies
from shootdown.machine.tlb_entry import INCARNATION_AT, TLB_PKEY, TLB_PKEY_AT

INCARNATION: Final = 0x7FFFF
"""The bits of an incarnation: a frame is freed less than 8192 times in a run, because to map it and to free it takes
more steps than that leaves of run.execute.STEP_LIMIT."""
PLACE_AT: Final = 3
PLACE: Final = INCARNATION << PLACE_AT
"""The incarnation of a version, in place."""
KEY_AT: Final = 22
KEY: Final = 3 << KEY_AT
"""The protection key of a version, in place."""
SEEN: Final = PLACE | KEY
"""Both: what an access can tell of the translation that it uses, beside what it grants."""
OBJECT_AT: Final = 24
GRANTS: Final = READ | WRITE | EXEC
"""The grants of a version, in place."""


def seen(entry: int) -> int:
    """Return the incarnation and the key of a TLB entry as a version has them."""
    return (entry & TLB_PKEY) << KEY_AT - TLB_PKEY_AT | entry >> INCARNATION_AT << PLACE_AT


def key_of(version: int) -> int:
    """Return the protection key of a version."""
    return version >> KEY_AT & 3


def key_refuses(version: int, kind: int, pkru: int) -> bool:
    """Return whether the key of a version denies an access of `kind` by a CPU with this PKRU."""
    return bool(version & KEY) and denies(pkru, key_of(version), kind)


def grants(version: int, kind: int, pkru: int) -> bool:
    """Return whether a version grants an access of `kind` to a CPU with this PKRU."""
    return bool(version & kind) and not key_refuses(version, kind, pkru)
