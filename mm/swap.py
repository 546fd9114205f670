"""Swap slots and the swap cache: what a swap entry names, and where its content is.

A slot has a count of the swap entries that name it (swap_map), and while a folio is in the swap cache the folio's frame
is what the page contains; without one the slot's content is.
World.swap has the content of a slot only as long as it is not older than the folio: a folio without it is dirty.
A frame in the swap cache is never mapped writable, but for the page that a reclaim in flight has just added: a write
fault takes it out of the cache first, or copies it, and so does who maps an exclusive page writable again. So the
content of a slot cannot become stale behind a mapping.
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
    """folio_alloc_swap: put a dirty folio under the lowest slot that nothing uses into the swap cache; return the slot.

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
    """swap_cluster_readahead of one page: a clean folio in the swap cache has the slot's content from here on."""
    frame = alloc_frame(w)
    w.machine.memory[frame << 2] = w.swap[slot]
    w.swap_cache[slot] = frame
    w.observer.swapped_in(slot, frame)


def count_entry(w: World, slot: int) -> None:
    """swap_duplicate: one more swap entry names the slot."""
    w.swap_map[slot] = w.swap_map.get(slot, 0) + 1


def uncount_entry(w: World, slot: int) -> None:
    """swap_free: one swap entry less names the slot."""
    if w.swap_map[slot] > 1:
        w.swap_map[slot] -= 1
    else:
        del w.swap_map[slot]


def free_swap_entry(w: World, mm: int, entry: int) -> None:
    """free_swap_and_cache: a swap entry of `mm` was cleared; the last one takes the content along.

    What is left in the swap cache is freed when nothing else holds the frame: behind its last mapping, or behind the
    reclaim that has it locked.
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
    """Fork gives the child the parent's swap entry: a snapshot of what it contains, wherever that is now."""
    slot = frame_of(entry)
    frame = w.swap_cache.get(slot, -1)
    if frame >= 0:
        w.observer.object_fork(parent, child, frame)
    else:
        w.observer.slot_fork(parent, child, slot)
    count_entry(w, slot)
