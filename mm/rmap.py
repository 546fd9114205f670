"""The reverse map: the entries that name a frame.

The kernel finds them through anon_vma and i_mmap; here a search of the page tables finds the same entries in a fixed
order: by address space, then by page.
A walk ends when nothing is left to find. So it finds an entry that mremap moves before the walk at its new place, as
the order of the regions in the kernel's tree guarantees.
"""

from shootdown.machine.entry import PRESENT, PSE
from shootdown.machine.geometry import FANOUT, PAGES, TABLES, frame_of
from shootdown.mm.locks import pte_lock, pte_unlock
from shootdown.mm.state import MMS, Step
from shootdown.mm.step import push
from shootdown.mm.tables import is_migration, maps, pte_of
from shootdown.mm.world import World


def find_mapping(w: World, frame: int, *, migration: bool) -> tuple[int, int] | None:
    """Return (mm, page) of the first 4 KiB entry that maps the frame, or the first migration entry that names it."""
    memory = w.machine.memory
    for mm in range(MMS):
        if w.root[mm] < 0:
            continue
        for index in range(TABLES):
            pmd = memory[w.root[mm] << 2 | index]
            if not pmd & PRESENT or pmd & PSE:
                continue
            table = frame_of(pmd) << 2
            for i in range(FANOUT):
                pte = memory[table | i]
                if is_migration(pte) and frame_of(pte) == frame if migration else maps(pte, frame):
                    return mm, index * FANOUT + i
    return None


def push_locked(w: World, cpu: int, mm: int, page: int, one: Step, again: Step) -> None:
    """Push the step `one`, which acts on the page's entry, under the PTL, and then the walk's next step (rmap_walk)."""
    index = page // FANOUT
    push(w, cpu, (pte_lock, mm, index), one, (pte_unlock, mm, index), again)


def mapcount(w: World, frame: int, of: range = range(MMS)) -> int:
    """Return how many 4 KiB entries of these address spaces map the frame (folio_mapcount)."""
    return sum(maps(pte_of(w, mm, page), frame) for mm in of for page in range(PAGES))


def is_merged(w: World, frame: int) -> bool:
    """Return whether an address space has had the frame at two pages, which only ksmd does (PageKsm).

    Such a frame is neither migrated nor swapped out here; Linux does both. It has a mark, because its entries are not
    enough: a protection change may have taken one of them out of its table for a moment.
    """
    return bool(w.merged >> frame & 1)


def trylock_page(w: World, frame: int) -> bool:
    """Lock the frame for one migration or reclaim; return False, without effect, if it is locked (folio_trylock)."""
    bit = 1 << frame
    if w.page_lock & bit:
        return False
    w.page_lock |= bit
    return True


def unlock_page(w: World, frame: int) -> None:
    """Unlock the frame (folio_unlock)."""
    w.page_lock &= ~(1 << frame)
