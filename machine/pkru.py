"""Protection keys: the register that restricts the accesses of user code by the key of a page (SDM vol. 3A 4.6.2).

Bit 2i of PKRU denies loads and stores to pages of key i (AD), bit 2i + 1 denies stores (WD); a fetch is never denied.
A translation is cached with its key, and each access checks the cached key in the register at that moment. So a write
to the register needs no flush and takes effect at once; a change of the key in an entry needs one (linux-tlb D.3 rule
8).

The machine has four of the 16 keys, and mm gives three of them to regions.
A page that was given no key has key 0, and no register denies key 0 here: so an access to such a page need not look at
the register at all.
"""

from typing import Final

KEYS: Final = 3
"""The number of keys that a region can have: 0, which nothing denies, and two more."""
NO_ACCESS: Final = 1
NO_WRITE: Final = 2
"""The two bits of a key: AD and WD."""
_DENYING: Final = {1: NO_ACCESS, 2: NO_ACCESS | NO_WRITE, 4: 0}
"""The bits of a key that deny an access, by READ, WRITE and EXEC."""


def denies(pkru: int, key: int, kind: int) -> bool:
    """Return whether a register denies an access of `kind` (READ, WRITE or EXEC) to the pages of a key."""
    return bool(pkru >> 2 * key & _DENYING[kind])
