"""Writeback of a dirty folio of the file: write-protect and clean its entries, flush, mark it as clean, write it.

It holds the folio's lock, for which page_mkwrite waits, so no fault makes the folio dirty while it is being cleaned.
A store through an entry that a TLB still has is written with the rest if it comes before the flush; after that it would
be lost (linux-tlb C, page_mkclean).
"""

from shootdown.machine.entry import DIRTY, RW
from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.locks import pte_lock, pte_unlock
from shootdown.mm.operation import due_install, op_return
from shootdown.mm.page_cache import is_changing, mapped_at
from shootdown.mm.rmap import trylock_page, unlock_page
from shootdown.mm.state import VM_WRITE, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import maps, pte_of, set_pte
from shootdown.mm.world import World


def start_writeback(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    """Begin to write back, by a kernel thread, a page of the file, if it is dirty.

    `page`: an offset in the file; the flusher starts from the file, not from a mapping.
    """
    push(w, cpu, (writeback_begin, PAGES + page), (op_return,))


Operation(
    number=22,
    name="writeback",
    start=start_writeback,
    summary="write a dirty page of the file to its backing store",
    pages="one",
    argument=NO_ARGUMENT,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=4,
    layouts=("file",),
    needs=(),
    shares=("rmap of a page of the file", "write of a page of the file"),
    holds_page=False,
    simpler_as=(),
)


@step("write_cache_pages", "check")
def writeback_begin(w: World, cpu: int, s: Step) -> None:
    _, place = s
    frame = w.shared[place]
    if frame < 0 or not w.dirty >> frame & 1 or not trylock_page(w, frame):
        return
    w.observer.cleaning(frame)
    push(w, cpu, (mkclean_next, frame), (clear_dirty, frame), (write_folio, frame, place))


@step("page_mkclean", "check", takes="frame")
def mkclean_next(w: World, cpu: int, s: Step) -> bool:
    """Find the next entry that is dirty or writable.

    The walk takes the PTL of each table before it concludes that nothing is mapped there (PVMW_SYNC): a zap or a
    protection change may have taken the entry out of the table. Here it waits until no CPU holds such a lock.
    """
    _, frame = s
    if is_changing(w, frame):
        return True
    for place in sorted(mapped_at(w, frame)):
        mm, page = divmod(place, PAGES)
        pte = pte_of(w, mm, page)
        if pte & (RW | DIRTY) and maps(pte, frame):
            index = page // FANOUT
            push(
                w,
                cpu,
                (pte_lock, mm, index),
                (mkclean_clear, mm, page, frame),
                (pte_unlock, mm, index),
                s,
            )
            break
    return False


@step("ptep_clear_flush", "change", takes="mm page frame")
def mkclean_clear(w: World, cpu: int, s: Step) -> None:
    _, mm, page, frame = s
    pte = pte_of(w, mm, page)
    if not pte & (RW | DIRTY) or not maps(pte, frame):
        return
    set_pte(w, cpu, mm, page, 0)
    if w.flush.pte_accessible(w, mm, pte):
        w.flush.defer_page(w, cpu, mm, page)
    push(w, cpu, (due_install,), (mkclean_set, mm, page, pte))


@step("set_pte_at", "install", takes="mm page entry")
def mkclean_set(w: World, cpu: int, s: Step) -> None:
    _, mm, page, pte = s
    set_pte(w, cpu, mm, page, pte & ~(RW | DIRTY))
    w.observer.visit(cpu, mm, page, VM_WRITE)


@step("folio_clear_dirty_for_io", "check", takes="frame")
def clear_dirty(w: World, _cpu: int, s: Step) -> None:
    """Mark the folio as clean: the write that follows includes every store that page_mkclean has found."""
    _, frame = s
    w.dirty &= ~(1 << frame)


@step("submit_bio", "copy", takes="frame place")
def write_folio(w: World, _cpu: int, s: Step) -> None:
    _, frame, place = s
    w.disk[place] = w.machine.memory[frame << 2]
    w.observer.written(frame)
    unlock_page(w, frame)
