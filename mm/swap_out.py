"""Reclaim of an anonymous page: unmap it everywhere, flush, write it to swap, free it.

A page whose copy in swap is current was not writable, and is not written again.
"""

from shootdown.machine.entry import DIRTY, RW, SWAP, SWP_EXCLUSIVE
from shootdown.machine.geometry import FRAME_BITS
from shootdown.mm.flush import PAGEOUT
from shootdown.mm.frames import put_page
from shootdown.mm.operation import due_free, due_pageout
from shootdown.mm.putback import push_unless_referenced
from shootdown.mm.rmap import find_mapping, push_locked, unlock_page
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.swap import add_to_swap, count_entry, slot_of
from shootdown.mm.tables import maps, pte_of, set_pte, swp_marks
from shootdown.mm.world import World


def push_swap_out(w: World, cpu: int, frame: int) -> None:
    """Push the reclaim of an anonymous page, which is locked and has a reference for the reclaim.

    It uses the slot that the page has, or allocates one (folio_alloc_swap).
    """
    slot = slot_of(w, frame)
    if slot < 0:
        slot = add_to_swap(w, frame)
    push(w, cpu, (unmap_next, frame, slot), (unmapped, frame, slot))


@step("try_to_unmap", "unmap", takes="frame slot")
def unmap_next(w: World, cpu: int, s: Step) -> None:
    _, frame, slot = s
    found = find_mapping(w, frame, migration=False)
    if found:
        mm, page = found
        push_locked(w, cpu, mm, page, (unmap_one, mm, page, frame, slot), s)


@step("try_to_unmap_one", "change", takes="mm page frame slot")
def unmap_one(w: World, cpu: int, s: Step) -> None:
    _, mm, page, frame, slot = s
    pte = pte_of(w, mm, page)
    if not maps(pte, frame):
        return
    entry = FRAME_BITS[slot] | SWAP | swp_marks(pte)
    if pte & RW:
        # A TLB may still have a writable entry when a fault finds the folio in the swap cache: the folio must be mapped
        # as before, and not copied because of another reference (for example a pin).
        entry |= SWP_EXCLUSIVE
    if pte & DIRTY:
        w.swap.pop(slot, None)
    count_entry(w, slot)
    if w.flush.pte_accessible(w, mm, pte):
        w.flush.defer_unmap(w, cpu, mm, page)
    set_pte(w, cpu, mm, page, entry)
    w.refs[frame] -= 1


@step("shrink_folio_list, unmapped", "check", takes="frame slot")
def unmapped(w: World, cpu: int, s: Step) -> None:
    """Flush before the write of a dirty folio, even of one that is then kept, as for the file (mm.file_out)."""
    _, frame, slot = s
    if slot not in w.swap:
        push(w, cpu, (due_pageout, PAGEOUT), (pageout, frame, slot))
    else:
        push_unless_referenced(w, cpu, frame, (due_free,), (remove_mapping, frame, slot))


@step("pageout", "check", takes="frame slot")
def pageout(w: World, cpu: int, s: Step) -> None:
    """Write the folio and drop it; keep it if it has other references."""
    _, frame, slot = s
    drop = (due_free,), (remove_mapping, frame, slot)
    push_unless_referenced(w, cpu, frame, (swap_writepage, frame, slot), *drop)


@step("swap_writepage", "copy", takes="frame slot")
def swap_writepage(w: World, _cpu: int, s: Step) -> None:
    _, frame, slot = s
    w.observer.copying(frame)
    w.swap[slot] = w.machine.memory[frame << 2]


@step("__remove_mapping, free_unref_folios", "free", takes="frame slot")
def remove_mapping(w: World, _cpu: int, s: Step) -> None:
    """Take the flushed folio out of the swap cache and free it; the slot stays, if an entry names it.

    Linux takes a clean folio out first and flushes before it frees it. In between one thread may read the content into
    a new folio and store to that, while another thread still loads from the old one; that window is not modelled.
    """
    _, frame, slot = s
    unlock_page(w, frame)
    if slot in w.swap_map:
        w.observer.swapped_out(frame, slot)
        del w.swap_cache[slot]
        put_page(w, frame)
    # Without an entry the drop of the last reference frees the slot too.
    put_page(w, frame)
