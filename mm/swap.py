"""Swap slots and the swap cache: the slot that a swap entry names, and the place of its content.

A slot has a count of the swap entries that name it (swap_map). The content of the page is in the frame of its folio
while that is in the swap cache, else in the slot.
World.swap has the content of a slot only while it is not older than the folio: a folio without it is dirty.
A frame in the swap cache is never mapped writable, except the page that a reclaim in flight has just added: a write
fault takes the frame out of the cache first, or copies it, and so does a fault that maps an exclusive page writable
again. So a mapping cannot make the content of a slot stale.
"""

from shootdown.machine.geometry import frame_of
from shootdown.mm.frames import alloc_frame, free_swap, get_page
from shootdown.mm.world import World


def slot_of(w: World, frame: int) -> int:
    """Return the slot of a frame in the swap cache, -1 if it is not there."""
    for slot, cached in w.swap_cache.items():
        if cached == frame:
            return slot
    return -1


def add_to_swap(w: World, frame: int) -> int:
    """Put a dirty folio into the swap cache, under the lowest free slot; return the slot (folio_alloc_swap).

    Slot 0 is the header of the swap area. Entries and frames are few, so there is always a slot below the number of
    frames, which fits into the place of a frame number.
    """
    slot = 1
    while slot in w.swap_map or slot in w.swap_cache:
        slot += 1
    w.swap_cache[slot] = frame
    get_page(w, frame)
    return slot


def read_swap(w: World, slot: int) -> None:
    """Read the slot's content into a new, clean folio in the swap cache (swap_cluster_readahead of one page)."""
    frame = alloc_frame(w)
    w.machine.memory[frame << 2] = w.swap[slot]
    w.swap_cache[slot] = frame
    w.observer.swapped_in(slot, frame)


def count_entry(w: World, slot: int) -> None:
    """Count one more swap entry that names the slot (swap_duplicate)."""
    w.swap_map[slot] = w.swap_map.get(slot, 0) + 1


def uncount_entry(w: World, slot: int) -> None:
    """Count one swap entry less that names the slot (swap_free)."""
    if w.swap_map[slot] > 1:
        w.swap_map[slot] -= 1
    else:
        del w.swap_map[slot]


def free_swap_entry(w: World, mm: int, entry: int) -> None:
    """Free a swap entry of `mm`, which was cleared; the last one frees the content too (free_swap_and_cache).

    A folio that is left in the swap cache is freed when nothing else holds the frame: after its last mapping, or after
    the reclaim that has it locked.
    """
    slot = frame_of(entry)
    frame = w.swap_cache.get(slot, -1)
    if frame >= 0:
        w.observer.object_left(mm, frame)
    else:
        w.observer.slot_left(mm, slot)
    uncount_entry(w, slot)
    if slot not in w.swap_map:
        if frame < 0:
            del w.swap[slot]
        elif w.refs[frame] == 1:
            free_swap(w, frame)


def copy_swap_entry(w: World, parent: int, child: int, entry: int) -> None:
    """Give the child of a fork the parent's swap entry: a snapshot of the content, in the slot or in the swap cache."""
    slot = frame_of(entry)
    frame = w.swap_cache.get(slot, -1)
    if frame >= 0:
        w.observer.object_fork(parent, child, frame)
    else:
        w.observer.slot_fork(parent, child, slot)
    count_entry(w, slot)
