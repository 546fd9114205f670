"""The page cache: folios of the file, whether they are dirty, and the mappings that the reverse map has of them.

A dirty folio is written back later (mm/writeback.py).
The kernel does not see the store that makes a folio dirty, but it sees the store's page fault, because an entry of a
clean folio is never writable.
The reverse map of a folio is separate from the page tables, because the kernel drops the two at different times, and an
operation that finds a folio unmapped looks at no page table (5df397dec7c4).
"""

from shootdown.machine.entry import DIRTY
from shootdown.machine.geometry import FANOUT, PAGES, TABLES
from shootdown.mm.frames import alloc_zeroed
from shootdown.mm.state import NOBODY, Step
from shootdown.mm.step import step
from shootdown.mm.tables import maps, pte_of
from shootdown.mm.world import World


def read_folio(w: World, place: int) -> int:
    """Return the frame of the file's page at a place of State.shared; read it from the backing store if it has none."""
    frame = w.shared[place]
    if frame < 0:
        frame = w.shared[place] = alloc_zeroed(w)
        w.machine.memory[frame << 2] = w.disk.get(place, 0)
        w.file_frames |= 1 << frame
    return frame


def map_folio(w: World, mm: int, page: int, frame: int, *, written: bool) -> None:
    """Account for an entry that a fault is about to install.

    `written`: the fault is for a store (page_mkwrite), so the folio is dirty from here.
    """
    w.refs[frame] += 1
    add_rmap(w, mm, page, frame)
    w.observer.object_file(mm, w.shared.index(frame), frame)
    if written:
        w.dirty |= 1 << frame


def add_rmap(w: World, mm: int, page: int, frame: int) -> None:
    """Add a mapping to the reverse map (folio_add_file_rmap)."""
    w.rmap[mm * PAGES + page] = frame


def remove_rmap(w: World, mm: int, page: int) -> None:
    """Remove a mapping from the reverse map (folio_remove_rmap)."""
    w.rmap.pop(mm * PAGES + page, None)


def move_rmap(w: World, mm: int, page: int, target: int) -> None:
    """Move a mapping in the reverse map to the target, to which mremap has moved the page's entry and region."""
    frame = w.rmap.pop(mm * PAGES + page, -1)
    if frame >= 0:
        w.rmap[mm * PAGES + target] = frame


def replace_folio(w: World, old: int, new: int) -> None:
    """Make `new` the file's frame in the place of `old`, with its flags (folio_migrate_mapping)."""
    w.file_frames |= 1 << new
    if w.dirty >> old & 1:
        w.dirty |= 1 << new


def mapped_at(w: World, frame: int) -> list[int]:
    """Return the places `mm * PAGES + page` at which the reverse map finds the folio; none if it is not mapped."""
    return [place for place, mapped in w.rmap.items() if mapped == frame]


def is_changing(w: World, frame: int) -> bool:
    """Return whether any CPU holds the lock of a table through which the folio is mapped."""
    return any(
        w.ptl[place // PAGES * TABLES + place % PAGES // FANOUT] != NOBODY
        for place in mapped_at(w, frame)
    )


def to_be_written(w: World, frame: int) -> bool:
    """Return whether the folio or an entry that maps it is dirty: then its content will reach the backing store."""
    if w.dirty >> frame & 1:
        return True
    for place in mapped_at(w, frame):
        mm, page = divmod(place, PAGES)
        pte = pte_of(w, mm, page)
        if pte & DIRTY and maps(pte, frame):
            return True
    return False


@step("folio_lock", "lock", takes="frame")
def wait_folio(w: World, _cpu: int, s: Step) -> bool:
    _, frame = s
    return bool(w.page_lock >> frame & 1)


@step("tlb_flush_rmaps", "unlock")
def drop_rmap(w: World, _cpu: int, s: Step) -> None:
    _, mm, page = s
    remove_rmap(w, mm, page)
