"""Reclaim of a folio of the file: unmap it everywhere, flush, write it back if it is dirty, free it; a fault reads it
again.

A search of the page tables finds the entries, as for anonymous memory: page_vma_mapped_walk skips an empty entry
without taking the PTL, unless the caller passes PVMW_SYNC, which only writeback does. The search misses an entry that a
protection change has taken out; that entry has a reference, so the folio is kept.
"""

from shootdown.machine.entry import DIRTY
from shootdown.mm.flush import SUBMIT
from shootdown.mm.frames import put_page
from shootdown.mm.operation import due_free, due_pageout
from shootdown.mm.page_cache import remove_rmap
from shootdown.mm.putback import is_freeable, keep_folio, push_unless_referenced, putback
from shootdown.mm.rmap import find_mapping, push_locked, trylock_page, unlock_page
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import maps, pte_of, set_pte
from shootdown.mm.world import World
from shootdown.mm.writeback import clear_dirty, write_folio


def push_file_out(w: World, cpu: int, frame: int) -> None:
    """Push the reclaim of a folio of the file, which is locked and has a reference for the reclaim."""
    push(w, cpu, (unmap_next, frame), (unmapped, frame))


@step("try_to_unmap", "unmap", takes="frame")
def unmap_next(w: World, cpu: int, s: Step) -> None:
    _, frame = s
    found = find_mapping(w, frame, migration=False)
    if found:
        mm, page = found
        push_locked(w, cpu, mm, page, (unmap_one, mm, page, frame), s)


@step("try_to_unmap_one", "change", takes="mm page frame")
def unmap_one(w: World, cpu: int, s: Step) -> None:
    """Clear the entry: the file says where the page is, and its regions have no marks of userfaultfd."""
    _, mm, page, frame = s
    pte = pte_of(w, mm, page)
    if not maps(pte, frame):
        return
    if pte & DIRTY:
        w.dirty |= 1 << frame
    if w.flush.pte_accessible(w, mm, pte):
        w.flush.defer_unmap(w, cpu, mm, page)
    set_pte(w, cpu, mm, page, 0)
    remove_rmap(w, mm, page)
    w.refs[frame] -= 1


@step("shrink_folio_list, unmapped", "check", takes="frame")
def unmapped(w: World, cpu: int, s: Step) -> None:
    """Flush before the write of a dirty folio, even of one that is then kept; drop a clean one.

    If the references are checked first, a dirty folio that is kept is unlocked before its flush: writeback finds no
    entry to clean, and a later store through the old translation is lost (good_pageout_of_a_page_with_a_pin).
    """
    _, frame = s
    if w.dirty >> frame & 1:
        push(w, cpu, (due_pageout, SUBMIT), (pageout, frame))
    else:
        place = w.shared.index(frame)
        push_unless_referenced(w, cpu, frame, (due_free,), (remove_mapping, frame, place))


@step("pageout", "check", takes="frame")
def pageout(w: World, cpu: int, s: Step) -> None:
    """Write the folio; keep it if it has other references."""
    _, frame = s
    if not is_freeable(w, frame):
        push(w, cpu, (keep_folio, frame))
        return
    place = w.shared.index(frame)
    w.observer.cleaning(frame)
    push(w, cpu, (clear_dirty, frame), (write_folio, frame, place), (lock_written, frame, place))


@step("folio_trylock", "check", takes="frame place")
def lock_written(w: World, cpu: int, s: Step) -> None:
    """Drop the folio, which the write has released, if it has not been mapped, changed or taken out meanwhile."""
    _, frame, place = s
    if not trylock_page(w, frame):
        push(w, cpu, (due_free,), (putback, frame))
    elif w.shared[place] != frame or w.dirty >> frame & 1 or not is_freeable(w, frame):
        push(w, cpu, (keep_folio, frame))
    else:
        push(w, cpu, (due_free,), (remove_mapping, frame, place))


@step("__remove_mapping, free_unref_folios", "free", takes="frame place")
def remove_mapping(w: World, _cpu: int, s: Step) -> None:
    """Take the flushed folio out of the page cache and free it; Linux flushes a clean one later, as in mm.swap_out."""
    _, frame, place = s
    unlock_page(w, frame)
    w.shared[place] = -1
    put_page(w, frame)
    put_page(w, frame)
