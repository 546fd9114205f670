"""Protection keys: the register that says what user code may do to the pages of each key (SDM vol. 3A 4.6.2).

Bit 2i of PKRU denies loads and stores to pages of key i (AD), bit 2i + 1 denies stores (WD); a fetch is never denied.
A translation is cached with its key, and each access holds the cached key against the register as it is then, so a
write to the register needs no flush and takes effect at once; a change of the key in an entry needs one (linux-tlb D.3
rule 8).

Of the 16 keys the machine has four, of which mm gives three to regions.
Key 0 is what every page has that nobody gave a key, and here no register denies it: so an access to such a page need
not look at the register at all.
"""

from typing import Final

KEYS: Final = 3
"""Keys that a region can have: 0, which nothing denies, and two more."""
NO_ACCESS: Final = 1
NO_WRITE: Final = 2
"""The two bits of a key: AD and WD."""
_DENYING: Final = {1: NO_ACCESS, 2: NO_ACCESS | NO_WRITE, 4: 0}
"""By READ, WRITE and EXEC, which of a key's bits deny it."""


def denies(pkru: int, key: int, kind: int) -> bool:
    """Return whether a register denies an access of `kind` (READ, WRITE or EXEC) to the pages of a key."""
    return bool(pkru >> 2 * key & _DENYING[kind])
