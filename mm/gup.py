"""pin_user_pages_fast: take a reference of a page by a walk without locks, read the page through it, give it back.

The walk has interrupts disabled, and reads each level in its own step. The entries may change meanwhile, so it takes
the reference first and then looks again: if both entries are unchanged, the page was mapped while the reference
existed, and an operation that unmaps the page to move it finds the reference.

The pin is read-only (no FOLL_WRITE), so it takes a page with any mapping for the user, and breaks no copy-on-write.
The page counts as shared while it is pinned: a write fault copies it, and migration, reclaim and khugepaged leave it
alone. Linux knows the owner of the page (PageAnonExclusive) and lets the fault reuse it.
If the walk finds nothing that it may take, Linux continues with locks and faults (__gup_longterm_locked); here the
operation ends.
"""

from shootdown.machine.entry import PKEY, PKEY_SHIFT, PRESENT, PSE, READ, USER
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.machine.pkru import denies
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.frames import get_page, put_page
from shootdown.mm.operation import op_return
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import is_special, pmd_of
from shootdown.mm.world import World

_MAPPED = PRESENT | USER


def start_pin(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    """Begin to pin the page for reading.

    The pin has no effect on a page that is not mapped for the user or not counted: the zero page, or a driver's page.
    """
    push(w, cpu, (gup_fast_pmd, page), (op_return,))


Operation(
    number=28,
    name="pin",
    start=start_pin,
    summary="the kernel pins a page without locks and reads it",
    pages="one",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=2,
    layouts=(),
    needs=(),
    shares=(
        "write of a page of the file",
        "a page with a reference",
        "a page that is copied",
        "page table under a walker",
    ),
    holds_page=True,
    simpler_as=(),
)


@step("local_irq_save, gup_fast_pmd_range")
def gup_fast_pmd(w: World, cpu: int, s: Step) -> None:
    """Disable interrupts and read the PMD; a huge PMD is the leaf.

    An operation that is about to free the table that the PMD names waits from here on.
    """
    _, page = s
    pmd = pmd_of(w, w.task_mm[cpu], page // FANOUT)
    if not _permitted(w, cpu, pmd):
        return
    w.flush.set_interrupts(w, cpu, disabled=True)
    w.walkers |= 1 << cpu
    if pmd & PSE:
        w.observer.walk_began(cpu, w.root[w.task_mm[cpu]])
        push(w, cpu, (try_grab_folio, page, pmd, 0))
    else:
        w.observer.walk_began(cpu, frame_of(pmd))
        push(w, cpu, (gup_fast_pte, page, pmd))


@step("gup_fast_pte_range, pte_offset_map", "lock", takes="page entry")
def gup_fast_pte(w: World, cpu: int, s: Step) -> None:
    """Read the PTE from the table that the PMD named, which may be removed by now; a special entry is not taken."""
    _, page, pmd = s
    pte = w.machine.memory[frame_of(pmd) << 2 | page % FANOUT]
    if _permitted(w, cpu, pte) and not is_special(pte):
        push(w, cpu, (try_grab_folio, page, pmd, pte))
    else:
        _leave(w, cpu)


def _permitted(w: World, cpu: int, entry: int) -> bool:
    """Return whether the entry maps a page for the user and PKRU allows loads from its key (pte_access_permitted)."""
    if entry & _MAPPED != _MAPPED:
        return False
    return not (entry & PKEY and denies(w.machine.pkru[cpu], entry >> PKEY_SHIFT & 3, READ))


def _leave(w: World, cpu: int) -> None:
    """End the walk, and enable interrupts."""
    w.flush.set_interrupts(w, cpu, disabled=False)
    w.walkers &= ~(1 << cpu)
    w.observer.walk_ended(cpu)


@step("try_grab_folio_fast", "change", takes="page entry entry")
def try_grab_folio(w: World, cpu: int, s: Step) -> None:
    """Take a reference of the frame, which may be reused by now, unless it is free."""
    _, page, pmd, pte = s
    frame = _frame(page, pmd, pte)
    if not w.refs[frame]:
        _leave(w, cpu)
        return
    get_page(w, frame)
    w.observer.grabbed(cpu, frame)
    push(w, cpu, (gup_fast_check, page, pmd, pte))


def _frame(page: int, pmd: int, pte: int) -> int:
    return frame_of(pte) if pte else frame_of(pmd) + page % FANOUT


@step("gup_fast: PMD and PTE unchanged, local_irq_restore", "commit", takes="page entry entry")
def gup_fast_check(w: World, cpu: int, s: Step) -> None:
    """Keep the reference if both entries are unchanged, else drop it.

    The PTE alone is not enough: the PMD may no longer name the table, which still has its entries (70cbc3cc78a9).
    """
    _, page, pmd, pte = s
    frame = _frame(page, pmd, pte)
    kept = not pte or w.machine.memory[frame_of(pmd) << 2 | page % FANOUT] == pte
    if kept and (w.flush.pmd_checked_again() or not pte):
        kept = pmd_of(w, w.task_mm[cpu], page // FANOUT) == pmd
    if kept:
        w.observer.pinned(cpu, page, frame)
        push(w, cpu, (read_pinned, page, frame), (unpin_user_page, frame))
    _leave(w, cpu)
    if not kept:
        put_page(w, frame)


@step("read through the pin", "copy", takes="page frame")
def read_pinned(w: World, cpu: int, s: Step) -> None:
    _, page, frame = s
    w.observer.pin_read(cpu, page, frame, w.machine.memory[frame << 2])


@step("unpin_user_page", "free", takes="frame")
def unpin_user_page(w: World, _cpu: int, s: Step) -> None:
    _, frame = s
    put_page(w, frame)
