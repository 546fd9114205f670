"""Page frames: allocation, references, poison.

A frame is free again when its last reference is dropped. References are mappings, pins during the copy of a frame,
places in a gather's batch, the page cache's reference for shared memory, and the swap cache's for a frame with a slot.
The frame that was freed last is allocated first, as from the page allocator's lists of each CPU, so a stale translation
to it shows at once; frames that were never in use come after all others, the lowest first.
"""

from shootdown.machine.geometry import BLOCKS, FANOUT
from shootdown.machine.x86 import POISON_ALLOC, POISON_FREE
from shootdown.mm.state import ZERO_FRAME
from shootdown.mm.world import World


class OutOfMemoryError(Exception):
    """The error that no frame is free: the run is undecided."""


def alloc_frame(w: World, pattern: int = POISON_ALLOC) -> int:
    """Return a frame full of the pattern, with one reference.

    Errors: OutOfMemoryError, when none is left.
    """
    if w.freed:
        frame = w.freed.pop()
    elif w.free_frames:
        frame = (w.free_frames & -w.free_frames).bit_length() - 1
    else:
        raise OutOfMemoryError
    w.free_frames ^= 1 << frame
    w.refs[frame] = 1
    w.machine.poison(frame, pattern)
    return frame


def alloc_zeroed(w: World) -> int:
    """Return a frame of zeros, as alloc_frame does: a page of anonymous memory, or a page table that maps nothing."""
    return alloc_frame(w, 0)


def alloc_huge(w: World) -> int:
    """Return the first frame of a free block of 2 MiB of zeros, or -1.

    Its frames have one reference each, and one generation.
    """
    for block in range(BLOCKS - 1, 0, -1):
        mask = ((1 << FANOUT) - 1) << block * FANOUT
        if w.free_frames & mask == mask:
            break
    else:
        return -1
    w.free_frames &= ~mask
    w.freed = [frame for frame in w.freed if not mask >> frame & 1]
    first = block * FANOUT
    generation = w.machine.generation
    generation[first : first + FANOUT] = [max(generation[first : first + FANOUT]) + 1] * FANOUT
    for frame in range(first, first + FANOUT):
        w.refs[frame] = 1
        w.machine.poison(frame, 0)
    return first


def get_page(w: World, frame: int) -> None:
    """Take a reference; the zero page has none to take."""
    if frame != ZERO_FRAME:
        w.refs[frame] += 1


def put_page(w: World, frame: int) -> None:
    """Drop a reference and free the frame with the last one."""
    if frame == ZERO_FRAME:
        return
    w.refs[frame] -= 1
    if not w.refs[frame]:
        w.observer.freed(frame)
        _release(w, frame)
    elif w.swap_cache and w.refs[frame] == 1:
        free_swap(w, frame)


def free_swap(w: World, frame: int) -> None:
    """Take the frame out of the swap cache and free its slot, if no swap entry names the slot (folio_free_swap).

    This has no effect on a frame that is not there, or whose folio is locked: the holder of the lock needs the slot.
    """
    for slot, cached in w.swap_cache.items():
        if cached == frame:
            if slot not in w.swap_map and not w.page_lock >> frame & 1:
                del w.swap_cache[slot]
                w.swap.pop(slot, None)
                put_page(w, frame)
            return


def free_table(w: World, mm: int, index: int, frame: int) -> None:
    """Drop the reference of the page table that was entry `index` of the PMD table of `mm`, and free its frame.

    A lockless walker may hold another reference: it takes one of the frame, which may be reused by then, and then looks
    again.
    """
    w.observer.table_freed(mm, index, frame)
    w.refs[frame] -= 1
    if not w.refs[frame]:
        _release(w, frame)


def _release(w: World, frame: int) -> None:
    w.machine.generation[frame] += 1
    w.machine.poison(frame, POISON_FREE)
    w.lazy_free &= ~(1 << frame)
    w.misplaced &= ~(1 << frame)
    w.merged &= ~(1 << frame)
    if w.file_frames:
        w.file_frames &= ~(1 << frame)
        w.dirty &= ~(1 << frame)
    w.free_frames |= 1 << frame
    w.freed.append(frame)
