"""Hole punching (fallocate, or truncate): unmap a page of the file wherever it is mapped, and drop it.

No mmap_lock: the mappings are found through the reverse map, so it meets an mremap that has moved one of them and
released the page-table locks (CVE-2018-18281).
Faults on the page wait for the folio's lock, which stands for the invalidate_lock of the mapping as well.
"""

from machine.geometry import FANOUT, PAGES
from mm.frames import put_page
from mm.locks import pte_unlock
from mm.operation import gather_begin, gather_finish, op_return, pte_lock_batched
from mm.page_cache import mapped_at
from mm.rmap import trylock_page, unlock_page
from mm.step import Step, push, step
from mm.tables import maps, pte_of
from mm.world import World
from mm.zap import UNMAP, zap_pte


def start_punch(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    """Begin punching a hole into the file, by whoever has it open: from then on its page `page` is zeros."""
    push(w, cpu, (punch_begin, PAGES + page), (op_return,))


@step("folio_lock, fallocate", "lock")
def punch_begin(w: World, cpu: int, s: Step) -> bool:
    place = s[1]
    frame = w.shared[place]
    if frame < 0:
        w.disk.pop(place, None)
        w.observer.object_ended(place)
        return False
    if not trylock_page(w, frame):
        return True
    push(w, cpu, (unmap_mapping_next, frame), (remove_folio, frame, place))
    return False


@step("unmap_mapping_range", "check", takes="frame")
def unmap_mapping_next(w: World, cpu: int, s: Step) -> None:
    """Zap the next mapping, each in a gather of its own, because it may be of another address space."""
    places = mapped_at(w, s[1])
    if places:
        mm, page = divmod(min(places), PAGES)
        index = page // FANOUT
        push(
            w,
            cpu,
            (gather_begin, mm),
            (pte_lock_batched, mm, index),
            (unmap_mapping_pte, mm, page, s[1]),
            (gather_finish,),
            s,
        )


@step("zap_pte_range", "check", takes="mm page frame")
def unmap_mapping_pte(w: World, cpu: int, s: Step) -> None:
    """Entered with the PTL; every way out releases it. Look again: mremap may have moved the mapping."""
    _, mm, page, frame = s
    index = page // FANOUT
    if maps(pte_of(w, mm, page), frame):
        push(w, cpu, (zap_pte, mm, index, 1 << page % FANOUT, UNMAP))
    else:
        push(w, cpu, (pte_unlock, mm, index))


@step("truncate_inode_folio", "free", takes="frame place")
def remove_folio(w: World, _cpu: int, s: Step) -> None:
    """Out of the page cache, and the backing store has a hole: its next reader finds zeros."""
    _, frame, place = s
    w.shared[place] = -1
    w.disk.pop(place, None)
    w.observer.object_ended(place)
    unlock_page(w, frame)
    put_page(w, frame)
