"""The version of a page, as one integer; 0 grants nothing.

It is `object << OBJECT_AT | key << KEY_AT | incarnation << PLACE_AT | grants`.

Its grants of loads and stores hold only if the PKRU of the CPU of the access does not deny its protection key
(machine.pkru).
"""

from typing import Final

from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.machine.pkru import denies
from shootdown.machine.tlb_entry import INCARNATION_AT, TLB_PKEY, TLB_PKEY_AT

INCARNATION: Final = 0x7FFFF
"""The bits of an incarnation: a frame is freed less than 8192 times in a run, because run.execute.STEP_LIMIT does not
leave enough steps to map and to free it more often.
"""
PLACE_AT: Final = 3
PLACE: Final = INCARNATION << PLACE_AT
"""The incarnation of a version, in its place."""
KEY_AT: Final = 22
KEY: Final = 3 << KEY_AT
"""The protection key of a version, in its place."""
SEEN: Final = PLACE | KEY
"""Both of these: the part of a translation that an access shows, beside its grants."""
OBJECT_AT: Final = 24
GRANTS: Final = READ | WRITE | EXEC
"""The grants of a version, in their place."""


def seen(entry: int) -> int:
    """Return the incarnation and the key of a TLB entry, in the form of a version."""
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
