"""A version of a page as one integer, `object << 24 | key << 22 | incarnation << 3 | grants`; 0 grants nothing.

What it grants to loads and stores is granted if PKRU of the CPU that makes the access does not deny its protection key
(machine.pkru).
"""

from typing import Final

INCARNATION: Final = 0x7FFFF
"""The bits of an incarnation: a frame is freed less than 8192 times in a run, because to map it and to free it takes
more steps than that leaves of fuzz.execute.STEP_LIMIT."""
PLACE: Final = INCARNATION << 3
"""The incarnation of a version, in place."""
KEY_AT: Final = 22
KEY: Final = 3 << KEY_AT
"""The protection key of a version, in place."""


def key_of(version: int) -> int:
    """Return the protection key of a version."""
    return version >> KEY_AT & 3
