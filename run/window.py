"""The pause point "window": an operation has changed an entry that another CPU still caches, and holds no table lock.

Every bug of a deferred flush lies in such a window, so a schedule can name it instead of counting steps.
"""

from shootdown.machine.caches import FETCH, HUGE_KEY, KEY_MASK, TAG_AT, TAG_MASK
from shootdown.machine.entry import EXEC, NX, PKEY_SHIFT, PRESENT, PSE, READ, RW
from shootdown.machine.geometry import FRAME_MASK, TABLES
from shootdown.machine.tlb_entry import INCARNATION_AT, tlb_grants, tlb_key
from shootdown.mm.world import World


def holds_table_lock(w: World, cpu: int) -> bool:
    """Return whether the CPU holds a PTL or a PMD lock."""
    return cpu in w.ptl or cpu in w.pmd_lock


def stale_elsewhere(w: World, cpu: int) -> set[tuple[int, int]]:
    """Return (CPU, TLB key) of the entries that other CPUs have loaded and that grant more than the page tables."""
    machine = w.machine
    stale: set[tuple[int, int]] = set()
    for there, entries in enumerate(machine.tlb):
        root = machine.cr3[there]
        if there == cpu or root < 0:
            continue
        tag = machine.pcid[there]
        for key, entry in entries.items():
            used = entry & ~RW if key & FETCH else entry
            if key >> TAG_AT & TAG_MASK == tag and grants_more(
                machine.memory, root, key & KEY_MASK, used
            ):
                stale.add((there, key))
    return stale


def grants_more(memory: list[int], root: int, place: int, entry: int) -> bool:
    """Return whether a TLB entry of a page (8 and above: of a huge page) grants what the tables below `root` do not.

    An entry with another key may do so.
    """
    index = place & (TABLES - 1) if place & HUGE_KEY else place >> 2
    leaf = memory[root << 2 | index]
    huge = leaf & PSE
    if not huge and leaf & PRESENT:
        if place & HUGE_KEY:
            return True
        leaf = memory[((leaf >> 19) & 60 | (leaf >> 12) & 3) << 2 | place & 3]
    if not leaf & PRESENT:
        return True
    frame = (leaf >> 19) & 60 | (0 if place & HUGE_KEY else place & 3 if huge else (leaf >> 12) & 3)
    if frame != entry >> INCARNATION_AT & FRAME_MASK or tlb_key(entry) != leaf >> PKEY_SHIFT & 3:
        return True
    return bool(tlb_grants(entry) & ~(READ | leaf & RW | (0 if leaf & NX else EXEC)))
