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
    """Return whether the folio is locked; -1 is no frame."""
    return frame >= 0 and bool(w.page_lock >> frame & 1)


@step("do_swap_page", "lock", takes="page kind entry")
def do_swap_page(w: World, cpu: int, s: Step) -> bool:
    """Find the folio, or read it in; wait while a reclaim or a migration has locked it (folio_lock_or_retry)."""
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
    """Map the folio, under its lock and the PTL; if the entry or the folio is gone, the access faults again.

    The folio is mapped writable for a store to a page that no other mapping has, and then the copy in swap is given up.
    All others are mapped read-only, and a store to them causes a fault on a present entry, which copies a page that has
    other references. That must not happen to a page that was writable when it was unmapped: a TLB may still have the
    writable entry, because the reclaim that has the reference has yet to flush. Such a page becomes writable at once,
    if region and marks allow it.
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

    A load must not make it writable if clear_refs waits for the first store to the page, which must fault
    (pte_needs_soft_dirty_wp).
    """
    alone = w.refs[frame] == 2
    if kind == WRITE:
        return alone or bool(entry & SWP_EXCLUSIVE)
    untracked = vma & VM_SOFTDIRTY or entry & SWP_SOFT_DIRTY
    return not alone and bool(entry & SWP_EXCLUSIVE and vma & VM_WRITE and untracked)
