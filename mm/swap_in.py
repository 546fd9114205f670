"""do_swap_page: a fault on a swap entry maps the folio in the swap cache, or reads the content into a new one."""

from shootdown.machine.entry import (
    DIRTY,
    RW,
    SOFT_DIRTY,
    SWP_EXCLUSIVE,
    SWP_SOFT_DIRTY,
    SWP_UFFD_WP,
    UFFD_WP,
    WRITE,
)
from shootdown.machine.geometry import FANOUT, FRAME_BITS, TABLES, frame_of
from shootdown.mm.frames import free_swap, get_page
from shootdown.mm.state import NOBODY, VM_SOFTDIRTY, VM_WRITE, Step
from shootdown.mm.step import push, step
from shootdown.mm.swap import read_swap, uncount_entry
from shootdown.mm.tables import page_prot, pte_of, set_pte
from shootdown.mm.world import World


def is_locked(w: World, frame: int) -> bool:
    """Return whether somebody has the folio locked; -1 is no frame."""
    return frame >= 0 and bool(w.page_lock >> frame & 1)


@step("do_swap_page", "lock", takes="page kind entry")
def do_swap_page(w: World, cpu: int, s: Step) -> bool:
    """Find the folio, or read it in; wait while a reclaim or a migration has it locked (folio_lock_or_retry)."""
    _, page, kind, entry = s
    if pte_of(w, w.task_mm[cpu], page) != entry:
        return False
    slot = frame_of(entry)
    frame = w.swap_cache.get(slot, -1)
    if is_locked(w, frame):
        return True
    if frame < 0:
        read_swap(w, slot)
    push(w, cpu, (swap_in_install, page, kind, entry))
    return False


@step("set_pte_at", "install", takes="page kind entry")
def swap_in_install(w: World, cpu: int, s: Step) -> bool:
    """Under the folio's lock and the PTL, map the folio; if the entry or the folio is gone, the access faults again.

    Writable for a store to a page that nobody else has: then the copy in swap is given up. All others are mapped
    read-only, and a store to them makes a fault on a present entry, which copies a page that somebody has a reference
    to. One that was writable when it was unmapped must not come to that, because a TLB may still have that entry while
    the reclaim that has the reference is to flush: it becomes writable at once, if region and marks allow it.
    """
    _, page, kind, entry = s
    mm = w.task_mm[cpu]
    slot = frame_of(entry)
    frame = w.swap_cache.get(slot, -1)
    if w.ptl[mm * TABLES + page // FANOUT] != NOBODY or is_locked(w, frame):
        return True
    if frame < 0 or pte_of(w, mm, page) != entry:
        return False
    get_page(w, frame)
    uncount_entry(w, slot)
    new = FRAME_BITS[frame] | page_prot(w.vma[mm][page])
    if entry & SWP_SOFT_DIRTY:
        new |= SOFT_DIRTY
    if entry & SWP_UFFD_WP:
        new |= UFFD_WP
    elif slot not in w.swap_map and _may_write(w, w.vma[mm][page], kind, entry, frame):
        free_swap(w, frame)
        new |= RW | (DIRTY | SOFT_DIRTY if kind == WRITE else 0)
    set_pte(w, cpu, mm, page, new)
    return False


def _may_write(w: World, vma: int, kind: int, entry: int, frame: int) -> bool:
    """Return whether the only entry that names the slot becomes writable.

    A load must leave the first store to a page that clear_refs waits for to a fault (pte_needs_soft_dirty_wp).
    """
    alone = w.refs[frame] == 2
    if kind == WRITE:
        return alone or bool(entry & SWP_EXCLUSIVE)
    untracked = vma & VM_SOFTDIRTY or entry & SWP_SOFT_DIRTY
    return not alone and bool(entry & SWP_EXCLUSIVE and vma & VM_WRITE and untracked)
