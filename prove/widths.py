"""How many bits each part of a packed fact has in the key of a world.

A part that is too wide runs into the part above it: two worlds get one key, one of them is never explored, and the
proof is silently unsound. So each width is stated once, with the number of its values, and a width that is too small
fails at import. A width is a number in the source because a computed one would cost the walk a look-up.
"""

from typing import Final

from shootdown.machine.caches import GLOBAL_TAG
from shootdown.machine.geometry import FANOUT, FRAMES, PAGES
from shootdown.machine.pkru import KEYS
from shootdown.mm.observer import KEY_SHIFT
from shootdown.mm.state import MMS, POKING_MM, SWITCHING
from shootdown.optimized.global_asid import LAST_GLOBAL
from shootdown.optimized.state import FIRST_GLOBAL
from shootdown.reference.history import ONCE_MAPPED
from shootdown.scenario.kinds import MAX_ASIDS, MAX_CPUS

FRAME: Final = 6
FRAME_OR_NONE: Final = 7
LOADED: Final = 3
"""Address spaces that a CPU can have loaded, counted from POKING_MM."""
TASK: Final = 3
"""Address spaces of a thread, counted from SWITCHING."""
FLAG: Final = 1
PCID: Final = 6
ASID: Final = 4
NEXT_ASID: Final = 3
COUNT: Final = 8
"""Entries of a TLB."""
UPPERS: Final = 5
"""Entries of a paging-structure cache."""
DEFERRED: Final = 7
"""Ranges of a deferred flush."""
TLB_FLAGS: Final = 8
HOLDER: Final = 4
"""The CPU that holds a lock, counted from 1, or none."""
MASK: Final = 8
"""CPUs, one bit each."""
MM: Final = 2
SLOT: Final = 5
ACCESS: Final = 4
READERS: Final = 4
"""CPUs that hold the lock of a VMA for reading."""
RIGHTS: Final = 6
"""The rights of a region in the history, counted from -1."""
OWNERS: Final = 3
"""Address spaces in which an object is mapped, one bit each."""

_TAGS: Final = MAX_ASIDS + LAST_GLOBAL + 1 - FIRST_GLOBAL + 1
"""Identifiers under which a CPU can have entries: the dynamic ones, the global ones, and the one of global entries."""
_VALUES: Final = {
    "FRAME": (FRAME, FRAMES),
    "FRAME_OR_NONE": (FRAME_OR_NONE, FRAMES + 1),
    "LOADED": (LOADED, MMS - POKING_MM),
    "TASK": (TASK, MMS - SWITCHING),
    "FLAG": (FLAG, 2),
    "PCID": (PCID, GLOBAL_TAG + 1),
    "ASID": (ASID, LAST_GLOBAL + 1),
    "NEXT_ASID": (NEXT_ASID, MAX_ASIDS + 1),
    # A page or a huge page, for loads and for fetches, for each identifier.
    "COUNT": (COUNT, 2 * _TAGS * (PAGES + PAGES // FANOUT) + 1),
    "UPPERS": (UPPERS, _TAGS * (PAGES // FANOUT) + 1),
    "HOLDER": (HOLDER, MAX_CPUS + 1),
    "MASK": (MASK, 1 << MAX_CPUS),
    "MM": (MM, MMS),
    "SLOT": (SLOT, MMS * PAGES),
    "READERS": (READERS, MAX_CPUS + 1),
    "RIGHTS": (RIGHTS, (KEYS + 1 << KEY_SHIFT) + 1),
    # All kinds of access, and ONCE_MAPPED.
    "ACCESS": (ACCESS, 2 * ONCE_MAPPED),
    # One range for each page of a space, two where a fault comes between; this is an assumption, because no bound is
    # enforced.
    "DEFERRED": (DEFERRED, 2 * MMS * PAGES + 1),
    "OWNERS": (OWNERS, 1 << MMS),
    "TLB_FLAGS": (TLB_FLAGS, 1 << 8),
}
for _name, (_width, _count) in _VALUES.items():
    if _count > 1 << _width:
        _message = f"prove/widths.py: {_name} has {_count} values, too many for {_width} bits"
        raise ValueError(_message)
