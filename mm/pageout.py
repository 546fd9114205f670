"""Reclaim of one mapped page: the common part, and the choice between the file and swap.

It takes no mmap_lock, only the folio's lock and, entry by entry, the PTL.
The flush of the unmapping is deferred. If the page is dirty, a TLB may still have a writable entry, so the flush is due
before the content is written (try_to_unmap_flush_dirty, d950c9477d51): the write would miss a later store.
Pages of the file are written to the file (mm.file_out), anonymous ones to swap (mm.swap_out).
"""

from shootdown.machine.entry import PRESENT, PROTNONE
from shootdown.machine.geometry import frame_of
from shootdown.mm.arguments import SPACE
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.file_out import push_file_out
from shootdown.mm.frames import get_page
from shootdown.mm.operation import op_return
from shootdown.mm.rmap import is_merged, trylock_page
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.swap_out import push_swap_out
from shootdown.mm.tables import is_special, pte_of
from shootdown.mm.world import World


def start_swapout(w: World, cpu: int, page: int, _count: int, mm: int) -> None:
    """Begin to reclaim, by a kernel thread, the private page or page of the file that `mm` maps, with all its mappings.

    It leaves a huge page, shared memory, and a page that was freed lazily, which mm.reclaim drops or keeps.
    """
    push(w, cpu, (shrink_folio, mm, page), (op_return,))


Operation(
    number=30,
    name="swapout",
    start=start_swapout,
    summary="write a page to swap or to its file and free its frame",
    pages="one",
    argument=SPACE,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=4,
    layouts=("private", "file"),
    needs=(),
    shares=("write of a page of the file", "a page that goes", "a page that is copied"),
    holds_page=True,
    simpler_as=("migrate",),
)


@step("shrink_folio_list", "check")
def shrink_folio(w: World, cpu: int, s: Step) -> None:
    _, mm, page = s
    if not w.live[mm]:
        return
    pte = pte_of(w, mm, page)
    frame = frame_of(pte)
    of_file = bool(w.file_frames >> frame & 1)
    if not pte & (PRESENT | PROTNONE) or is_special(pte) or (frame in w.shared) != of_file:
        return
    if w.lazy_free >> frame & 1 or is_merged(w, frame) or not trylock_page(w, frame):
        return
    get_page(w, frame)
    if of_file:
        push_file_out(w, cpu, frame)
    else:
        push_swap_out(w, cpu, frame)
