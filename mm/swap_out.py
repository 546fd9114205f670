"""Reclaim of an anonymous page: unmap everywhere, flush, write to swap, free.

No mmap_lock: only the folio's lock and, entry by entry, the PTL.
The flush of the unmapping is deferred. If the page is dirty a TLB may still have a writable entry, so the flush is due
before the content is written (try_to_unmap_flush_dirty, d950c9477d51): a store behind that would not be in swap. A page
whose copy in swap is good was not writable.
"""

from machine.entry import (
    DIRTY,
    PRESENT,
    PROTNONE,
    RW,
    SWAP,
    SWP_EXCLUSIVE,
)
from machine.geometry import FRAME_BITS, frame_of
from mm.frames import get_page, put_page
from mm.operation import due_free, due_pageout, op_return
from mm.rmap import is_merged, push_one, trylock_page, unlock_page
from mm.step import Step, push, step
from mm.swap import add_to_swap, count_entry, slot_of
from mm.tables import is_special, maps, pte_of, set_pte, swp_marks
from mm.world import World


def start_swapout(w: World, cpu: int, page: int, _count: int, mm: int) -> None:
    """Begin reclaiming, by a kernel thread, the anonymous private page that `mm` maps, wherever else it is mapped.

    Left alone: a huge page, shared memory, and a page that was freed lazily, which is dropped or kept (mm.reclaim).
    """
    push(w, cpu, (swap_out_begin, mm, page), (op_return,))


@step("shrink_folio_list, folio_alloc_swap", "check")
def swap_out_begin(w: World, cpu: int, s: Step) -> None:
    _, mm, page = s
    if not w.live[mm]:
        return
    pte = pte_of(w, mm, page)
    frame = frame_of(pte)
    if not pte & (PRESENT | PROTNONE) or is_special(pte) or frame in w.shared:
        return
    if w.lazy_free >> frame & 1 or is_merged(w, frame) or not trylock_page(w, frame):
        return
    get_page(w, frame)
    slot = slot_of(w, frame)
    if slot < 0:
        slot = add_to_swap(w, frame)
    push(w, cpu, (unmap_next, frame, slot), (pageout, frame, slot))


@step("try_to_unmap", "check", takes="frame slot")
def unmap_next(w: World, cpu: int, s: Step) -> None:
    push_one(w, cpu, s, unmap_one, migration=False)


@step("try_to_unmap_one", "change", takes="mm page frame slot")
def unmap_one(w: World, cpu: int, s: Step) -> None:
    _, mm, page, frame, slot = s
    pte = pte_of(w, mm, page)
    if not maps(pte, frame):
        return
    entry = FRAME_BITS[slot] | SWAP | swp_marks(pte)
    if pte & RW:
        # A TLB may still have a writable entry when a fault finds the folio in the swap cache: it must be mapped as it
        # was, and not copied because somebody has a reference (a pin, say).
        entry |= SWP_EXCLUSIVE
    if pte & DIRTY:
        w.swap.pop(slot, None)
    count_entry(w, slot)
    if w.flush.pte_accessible(w, mm, pte):
        w.flush.defer_unmap(w, cpu, mm, page)
    set_pte(w, cpu, mm, page, entry)
    w.refs[frame] -= 1


@step("pageout", "check", takes="frame slot")
def pageout(w: World, cpu: int, s: Step) -> None:
    """Write a dirty folio, with the flush in front, and drop it; keep one that others have a reference to."""
    _, frame, slot = s
    if not _is_freeable(w, frame):
        push(w, cpu, (keep_folio, frame))
        return
    push(w, cpu, (due_free,), (remove_mapping, frame, slot))
    if slot not in w.swap:
        push(w, cpu, (due_pageout,), (swap_writepage, frame, slot))


def _is_freeable(w: World, frame: int) -> bool:
    """is_page_cache_freeable: the swap cache and this reclaim have the only references."""
    return w.refs[frame] == 2


@step("swap_writepage", "copy", takes="frame slot")
def swap_writepage(w: World, _cpu: int, s: Step) -> None:
    _, frame, slot = s
    w.observer.copying(frame)
    w.swap[slot] = w.machine.memory[frame << 2]


@step("__remove_mapping, free_unref_folios", "free", takes="frame slot")
def remove_mapping(w: World, _cpu: int, s: Step) -> None:
    """Take the folio out of the swap cache and free it, flushed; what is left is the slot, if an entry names it.

    Linux takes a clean folio out first and flushes before it frees. In between one thread may read the content into a
    new folio and store to it while another one still loads from the old one; that window is not modelled.
    """
    _, frame, slot = s
    unlock_page(w, frame)
    if slot in w.swap_map:
        w.observer.swapped_out(frame, slot)
        del w.swap_cache[slot]
        put_page(w, frame)
    # Without an entry the last reference that is put takes the slot along.
    put_page(w, frame)


@step("folio_unlock", "unlock", takes="frame")
def keep_folio(w: World, cpu: int, s: Step) -> None:
    """A fault finds the folio in the swap cache from here on, while the flush is still to come."""
    unlock_page(w, s[1])
    push(w, cpu, (due_free,), (putback, s[1]))


@step("folio_putback_lru", "free", takes="frame")
def putback(w: World, _cpu: int, s: Step) -> None:
    put_page(w, s[1])
