"""Reclaim of one lazily freed page (MADV_FREE): it is dropped if it is clean, and kept if it was written again."""

from shootdown.machine.entry import DIRTY, PRESENT, PROTNONE
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.arguments import SPACE
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.frames import put_page
from shootdown.mm.locks import pte_lock, pte_unlock
from shootdown.mm.operation import due_free, op_return
from shootdown.mm.rmap import trylock_page, unlock_page
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import maps, pte_of, set_pte
from shootdown.mm.world import World


def start_reclaim(w: World, cpu: int, page: int, _count: int, mm: int) -> None:
    """Begin to reclaim, by a kernel thread, the frame that `mm` maps at the page, if it was freed lazily."""
    push(w, cpu, (reclaim_begin, mm, page), (op_return,))


Operation(
    number=16,
    name="reclaim",
    start=start_reclaim,
    summary="discard a clean page that was lazily freed",
    pages="one",
    argument=SPACE,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=4,
    layouts=(),
    needs=(),
    shares=("a page that goes",),
    holds_page=False,
    simpler_as=("migrate",),
)


@step("shrink_folio_list", "check")
def reclaim_begin(w: World, cpu: int, s: Step) -> None:
    _, mm, page = s
    if not w.live[mm]:
        return
    pte = pte_of(w, mm, page)
    frame = frame_of(pte)
    if pte & (PRESENT | PROTNONE) and w.lazy_free >> frame & 1 and trylock_page(w, frame):
        index = page // FANOUT
        push(w, cpu, (pte_lock, mm, index), (reclaim_unmap, mm, page, frame))


@step("try_to_unmap_one", "change", takes="mm page frame")
def reclaim_unmap(w: World, cpu: int, s: Step) -> None:
    """Clear the entry if it is clean, under the PTL; keep a page that was written since MADV_FREE.

    Every way out releases the PTL. The kernel exchanges first and puts a dirty entry back, which is the same step under
    the PTL. A clean entry in a TLB is no danger: a write through it walks again, and traps because the entry is gone.
    """
    _, mm, page, frame = s
    unlock = (pte_unlock, mm, page // FANOUT)
    pte = pte_of(w, mm, page)
    if not maps(pte, frame) or w.refs[frame] != 1:
        push(w, cpu, unlock, (reclaim_keep, frame))
    elif pte & DIRTY:
        w.lazy_free &= ~(1 << frame)
        push(w, cpu, unlock, (reclaim_keep, frame))
    else:
        if w.flush.pte_accessible(w, mm, pte):
            w.flush.defer_unmap(w, cpu, mm, page)
        set_pte(w, cpu, mm, page, 0)
        push(w, cpu, unlock, (due_free,), (reclaim_end, mm, page, frame))


@step("folio_unlock", "unlock", takes="frame")
def reclaim_keep(w: World, _cpu: int, s: Step) -> None:
    _, frame = s
    unlock_page(w, frame)


@step("free_unref_folios", "free", takes="mm page frame")
def reclaim_end(w: World, _cpu: int, s: Step) -> None:
    _, mm, page, frame = s
    unlock_page(w, frame)
    w.observer.discarded(mm, page, frame)
    w.observer.object_left(mm, frame)
    put_page(w, frame)
