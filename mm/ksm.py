"""KSM: map one frame in the place of two that have the same content.

It write-protects both pages, compares them, replaces the entry of one by the frame of the other, and drops the old
frame. The contents must not change after the comparison, so no TLB may have a writable entry by then. A read-only and
clean entry proves that only if no flush is pending: a gather may have cleared RW and DIRTY without a flush so far
(b3a81d0841a9).

ksmd finds the other page in a tree that is sorted by content; here a search of the page tables, by address space and
page, finds it. It holds mmap_lock of one address space at a time, for reading, and the locks of both folios throughout.
"""

from shootdown.machine.entry import DIRTY, PRESENT, RW, SOFT_DIRTY, UFFD_WP
from shootdown.machine.geometry import FANOUT, FRAME_BITS, PAGES, frame_of
from shootdown.mm.arguments import SPACE
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.frames import get_page, put_page
from shootdown.mm.locks import mmap_read_trylock, pte_lock, pte_unlock
from shootdown.mm.operation import due_install, op_return
from shootdown.mm.rmap import is_merged, mapcount, trylock_page, unlock_page
from shootdown.mm.state import MMS, VM_RIGHTS, VM_WRITE, Step
from shootdown.mm.step import push, step
from shootdown.mm.swap import slot_of
from shootdown.mm.tables import is_special, maps, page_prot, pte_of, set_pte
from shootdown.mm.world import World


def start_ksm(w: World, cpu: int, page: int, _count: int, mm: int) -> None:
    """Begin to merge, by ksmd, the page of `mm` with the first other page of any space that has the same content.

    It is refused without effect for the zero page, a driver's page, huge pages, shared memory, and pages that are
    locked or in the swap cache; a page that was freed lazily is not the one that stays.
    """
    push(w, cpu, (ksm_begin, mm, page), (op_return,))


Operation(
    number=32,
    name="ksm",
    start=start_ksm,
    summary="merge a page with one that has the same content",
    pages="one",
    argument=SPACE,
    thread=Thread.KERNEL,
    lock=Lock.READ,
    access=False,
    rank=5,
    weight=2,
    layouts=("private",),
    needs=(),
    shares=("content of two pages",),
    holds_page=False,
    simpler_as=(),
)


def mergeable(w: World, mm: int, page: int) -> int:
    """Return the frame of an anonymous page that ksmd may look at, -1 for any other."""
    pte = pte_of(w, mm, page)
    frame = frame_of(pte)
    refused = not pte & PRESENT or is_special(pte) or frame in w.shared
    if refused or w.page_lock >> frame & 1 or slot_of(w, frame) >= 0:
        return -1
    return frame


@step("cmp_and_merge_page", "check")
def ksm_begin(w: World, cpu: int, s: Step) -> None:
    _, mm, page = s
    frame = mergeable(w, mm, page) if w.live[mm] else -1
    if frame < 0:
        return
    memory = w.machine.memory
    for place in range(MMS * PAGES):
        kept_mm, kept_page = divmod(place, PAGES)
        kept_frame = mergeable(w, kept_mm, kept_page) if w.live[kept_mm] else -1
        if kept_frame in (-1, frame) or w.lazy_free >> kept_frame & 1:
            continue
        if memory[kept_frame << 2] == memory[frame << 2]:
            for each in (kept_frame, frame):
                trylock_page(w, each)
                get_page(w, each)
            lock = (ksm_mmap_lock, kept_mm), (pte_lock, kept_mm, kept_page // FANOUT)
            protect = (protect_kept, kept_mm, kept_page, kept_frame, mm, page, frame)
            push(w, cpu, *lock, protect, (ksm_end, kept_frame, frame))
            return


@step("mmap_read_lock", "lock")
def ksm_mmap_lock(w: World, _cpu: int, s: Step) -> bool:
    _, mm = s
    return not mmap_read_trylock(w, mm)


@step("mmap_read_unlock", "unlock")
def ksm_mmap_unlock(w: World, _cpu: int, s: Step) -> None:
    _, mm = s
    w.mmap_lock[mm] -= 1


@step("write_protect_page, the page that stays", "change", takes="mm page frame mm page frame")
def protect_kept(w: World, cpu: int, s: Step) -> None:
    """Protect the page that stays, under the locks of its address space; every way out releases them."""
    _, kept_mm, kept_page, kept_frame, mm, page, frame = s
    unlock = (pte_unlock, kept_mm, kept_page // FANOUT), (ksm_mmap_unlock, kept_mm)
    if not maps(pte_of(w, kept_mm, kept_page), kept_frame):
        push(w, cpu, *unlock)
        return
    lock = (ksm_mmap_lock, mm), (pte_lock, mm, page // FANOUT)
    push(w, cpu, *unlock, *lock, (protect_merged, mm, page, frame, kept_frame))
    write_protect(w, cpu, kept_mm, kept_page)


@step("write_protect_page", "change", takes="mm page frame frame")
def protect_merged(w: World, cpu: int, s: Step) -> None:
    """Protect the page that is merged, under the locks of its address space; every way out releases them."""
    _, mm, page, frame, kept_frame = s
    unlock = (pte_unlock, mm, page // FANOUT)
    if not maps(pte_of(w, mm, page), frame):
        push(w, cpu, unlock, (ksm_mmap_unlock, mm))
        return
    push(w, cpu, unlock, (pages_identical, mm, page, frame, kept_frame))
    write_protect(w, cpu, mm, page)


def write_protect(w: World, cpu: int, mm: int, page: int) -> None:
    """Push the steps after which no CPU can store to the page, under the PTL.

    DIRTY stays in the entry; Linux moves it to the folio.
    """
    pte = pte_of(w, mm, page)
    if pte & (RW | DIRTY) or w.flush.pending_before_merge(w, mm):
        set_pte(w, cpu, mm, page, 0)
        w.flush.defer_page(w, cpu, mm, page)
        push(w, cpu, (due_install,), (protect_set, mm, page, pte & ~RW))
    else:
        push(w, cpu, (protect_set, mm, page, pte))


@step("set_pte_at", "install", takes="mm page entry")
def protect_set(w: World, cpu: int, s: Step) -> None:
    _, mm, page, pte = s
    if pte_of(w, mm, page) != pte:
        set_pte(w, cpu, mm, page, pte)
    w.observer.visit(cpu, mm, page, VM_WRITE)


@step("pages_identical", "copy", takes="mm page frame frame")
def pages_identical(w: World, cpu: int, s: Step) -> None:
    _, mm, page, frame, kept_frame = s
    w.observer.copying(kept_frame)
    w.observer.copying(frame)
    if w.machine.memory[frame << 2] == w.machine.memory[kept_frame << 2]:
        push(w, cpu, (pte_lock, mm, page // FANOUT), (replace_page, mm, page, frame, kept_frame))
    else:
        push(w, cpu, (ksm_mmap_unlock, mm))


@step("replace_page", "change", takes="mm page frame frame")
def replace_page(w: World, cpu: int, s: Step) -> None:
    """Clear and flush the entry under the PTL if it still maps the page; the folio's lock keeps the page read-only."""
    _, mm, page, frame, kept_frame = s
    pte = pte_of(w, mm, page)
    unlock = (pte_unlock, mm, page // FANOUT), (ksm_mmap_unlock, mm)
    if not maps(pte, frame):
        push(w, cpu, *unlock)
        return
    set_pte(w, cpu, mm, page, 0)
    w.flush.defer_page(w, cpu, mm, page)
    push(w, cpu, (due_install,), (merge_install, mm, page, frame, kept_frame, pte), *unlock)


@step("set_pte_at", "install", takes="mm page frame frame entry")
def merge_install(w: World, cpu: int, s: Step) -> None:
    """Map the page that stays, read-only; the marks of the entry are kept.

    While that page is copied, the entry is put back: the copy replaces one mapping, and this one would be another.
    Linux looks for references when it write-protects, and merges during a copy-on-write break that begins after that.
    """
    _, mm, page, frame, kept_frame, pte = s
    if w.refs[kept_frame] != mapcount(w, kept_frame) + 1:
        set_pte(w, cpu, mm, page, pte)
        return
    get_page(w, kept_frame)
    w.observer.merged(mm, page, frame, kept_frame)
    marks = pte & (UFFD_WP | SOFT_DIRTY) | DIRTY
    set_pte(w, cpu, mm, page, FRAME_BITS[kept_frame] | page_prot(w.vma[mm][page]) | marks)
    # The old frame may stay in use for another page, so its free does not prove that no load reads it here.
    w.observer.visit(cpu, mm, page, VM_RIGHTS)
    w.refs[frame] -= 1
    if is_merged(w, frame) or mapcount(w, kept_frame, range(mm, mm + 1)) > 1:
        w.merged |= 1 << kept_frame


@step("folio_unlock, put_page", "free", takes="frame frame")
def ksm_end(w: World, _cpu: int, s: Step) -> None:
    _, kept_frame, frame = s
    for each in (kept_frame, frame):
        unlock_page(w, each)
        put_page(w, each)
