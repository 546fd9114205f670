"""pin_user_pages_fast: a walk without locks, which operations wait for it, and what it may return."""

from collections.abc import Iterator

import pytest

from shootdown.machine.entry import DIRTY
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.frames import alloc_frame, free_table, put_page
from shootdown.mm.operations import BY_NAME, begin
from shootdown.mm.state import NOBODY
from shootdown.mm.step import run_steps
from shootdown.mm.tables import set_pte
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import boot
from shootdown.run.oracle import Oracle, Violation
from shootdown.scenario import Header, kinds
from tests.kernel import Kernel, R, cached_twice, written

PMD = "local_irq_save, gup_fast_pmd_range"
PTE = "gup_fast_pte_range, pte_offset_map"
GRAB = "try_grab_folio_fast"
CHECK = "gup_fast: PMD and PTE unchanged, local_irq_restore"
READ = "read through the pin"
UNPIN = "unpin_user_page"
WALK = (PMD, PTE, GRAB, CHECK)
SYNC = "tlb_remove_table_sync_one"
FREE = "free the gather's batch"


def small(policy: str = "linux", **header: int) -> Kernel:
    """Return a region that allows huge pages, mapped by a page table: p0 absent, stores 2 to 4 in p1 to p3."""
    k = written(policy, layout="huge", **header)
    k.run(0, "dontneed")
    for page in range(1, FANOUT):
        k.write(0, page)
    return k


def paused(k: Kernel, before: str, page: int = 1) -> None:
    """Let CPU 1 pin the page, and pause before a step."""
    k.start(1, "pin", page, until=before)


def advance(k: Kernel) -> None:
    """Let CPU 0 go on until it is blocked or has finished."""
    while k.w.steps[0] and k.step(0):
        pass


def test_the_order_of_steps() -> None:
    """It reads the PMD and the PTE, takes a reference, and checks both entries again; then the page is read and given
    back.
    """
    k = small()

    assert k.run(1, "pin", 1) == [*WALK, READ, UNPIN, "return"]
    assert k.w.refs[k.frame(1)] == 1


def test_a_huge_page_is_its_own_leaf() -> None:
    """There is no PTE to read, and the reference is of the small page inside."""
    k = Kernel(layout="huge")
    k.write(0, 2)
    paused(k, READ, 2)

    assert k.names[1] == [PMD, GRAB, CHECK]
    assert k.w.refs[frame_of(k.pmd()) : frame_of(k.pmd()) + FANOUT] == [1, 1, 2, 1]
    k.finish(1)


def test_what_is_not_mapped_is_not_pinned() -> None:
    """No page table, no page, the zero page, and a page without rights end the walk."""
    k = Kernel()
    assert k.run(1, "pin") == [PMD, "return"]
    k.write(0)
    assert k.run(1, "pin", 1) == [PMD, PTE, "return"]
    k.read(0, 1)
    assert k.run(1, "pin", 1) == [PMD, PTE, "return"]
    k.run(0, "mprotect", 0, 1, 0)
    assert k.run(1, "pin") == [PMD, PTE, "return"]

    assert (k.w.irqs_off, k.w.walkers) == ([False, False], 0)


def test_interrupts_are_off_from_the_first_to_the_last_look() -> None:
    """They are off during the walk, and nowhere else."""
    k = small()
    k.start(1, "pin", 1)
    seen = []
    while k.w.steps[1]:
        seen.append((k.next(1), k.w.irqs_off[1]))
        k.step(1)

    assert [name for name, off in seen if off] == [PTE, GRAB, CHECK]


@pytest.mark.parametrize("before", [PTE, GRAB, CHECK])
@pytest.mark.parametrize("policy", ["linux", "linux-pv"])
def test_a_collapse_meanwhile(policy: str, before: str) -> None:
    """It waits for the walker before it copies; if the walker has its reference, the collapse stops, if not, the walker
    drops it.
    """
    k = small(policy)
    paused(k, before)
    k.start(0, "collapse")
    advance(k)
    refused = before == CHECK
    waits = "" if refused else "flush_tlb_func" if policy == "linux" else SYNC
    assert k.next(0) == waits
    k.finish(1)
    advance(k)

    assert (READ in k.names[1]) == refused
    assert k.read(1, 1) == 2


@pytest.mark.parametrize("policy", ["linux", "linux-pv"])
def test_a_freed_table_waits_for_the_walker(policy: str) -> None:
    """If the flush is an interrupt, the flush waits; otherwise the free waits, and nothing is lost by it."""
    k = written(policy)
    table = frame_of(k.pmd())
    paused(k, PTE, 0)
    k.start(0, "munmap", 0, 4)
    advance(k)
    assert k.next(0) == ("flush_tlb_func" if policy == "linux" else FREE)
    assert k.journal.freed_tables == []
    k.finish(1)
    advance(k)

    assert k.journal.freed_tables == [table]


def test_a_guest_flushes_a_paused_walker_in_full() -> None:
    """Everything that the walker's CPU had cached is gone, and its generation says that it has to flush again."""
    k = cached_twice("linux-pv")
    k.read(1, 1)
    paused(k, PTE, 0)
    generation = k.state.ctx_gen[1][0]
    k.run(0, "mprotect", 0, 1, R)

    assert not k.w.machine.tlb[1]
    assert k.state.ctx_gen[1][0] == generation < k.state.tlb_gen[0]
    k.finish(1)


def test_a_guest_flushes_a_cpu_inside_a_switch() -> None:
    """It neither waits nor loses the CPU's bit in the mask, and the switch ends with nothing stale."""
    k = written("linux-pv")
    k.run(0, "fork")
    k.read(1)
    k.run(1, "switch", arg=1)
    k.start(1, "switch", arg=0, until="write CR3")
    k.run(0, "dontneed")
    assert k.state.cpumask[0] == 3
    k.finish(1)

    assert k.read(1) == 0


def test_the_reference_waits_for_the_walker_as_well() -> None:
    """A kernel that flushes at once has the same need to wait before it frees a table."""
    w, oracle = boot(Header(2, 4), EagerFlush(), Oracle)
    for cpu, name, steps in ((0, "write", 100), (1, "pin", 1)):
        begin(w, cpu, BY_NAME[name], 0, 1, 0)
        run_steps(w, cpu, steps)
    begin(w, 0, BY_NAME["munmap"], 0, 4, 0)
    assert not run_steps(w, 0, 100)
    assert run_steps(w, 1, 100)
    assert run_steps(w, 0, 100)

    oracle.at_rest()


def test_a_changed_entry_gives_the_reference_back() -> None:
    """If the page was unmapped, or only aged, in the meantime, the walk does not return it."""
    for name in ("mprotect", "age"):
        k = small()
        paused(k, CHECK)
        frame = k.frame(1)
        k.start(0, name, 1, 1, 0)
        advance(k)
        assert k.finish(1) == [*WALK, "return"]
        advance(k)
        assert k.w.refs[frame] == 1


def test_a_reference_of_what_the_frame_has_become() -> None:
    """A frame that has become a page table is freed when both users have released it."""
    k = written()
    k.run(0, "dontneed")
    k.write(0)
    frame = k.frame()
    paused(k, GRAB, 0)
    set_pte(k.w, 0, 0, 0, 0)
    k.w.machine.tlb[0].clear()
    put_page(k.w, frame)
    assert alloc_frame(k.w) == frame
    k.past(1, GRAB)
    free_table(k.w, 0, 0, frame)
    assert not k.w.free_frames >> frame & 1
    k.finish(1)

    assert k.w.free_frames >> frame & 1
    assert READ not in k.names[1]


def test_no_reference_of_a_free_frame() -> None:
    """A count of zero is not raised."""
    k = written()
    frame = k.frame()
    paused(k, GRAB, 0)
    set_pte(k.w, 0, 0, 0, 0)
    k.w.machine.tlb[0].clear()
    put_page(k.w, frame)
    k.finish(1)

    assert k.names[1] == [PMD, PTE, GRAB, "return"]
    assert k.w.refs[frame] == 0


def test_a_pinned_page_stays_where_it_is() -> None:
    """Migration and a collapse leave it alone, and a write fault on it copies it."""
    k = small()
    frame = k.frame(1)
    paused(k, READ)
    k.run(0, "migrate", 1)
    k.run(0, "collapse")
    assert k.frame(1) == frame
    k.run(0, "mprotect", 1, 1, R)
    k.run(0, "mprotect", 1, 1, R | 2)
    k.write(0, 1)
    assert k.frame(1) != frame
    k.finish(1)

    assert k.journal.freed_frames[-1] == frame


def unmapped_late(k: Kernel) -> None:
    """Let the page be unmapped while the walk holds no reference yet; the walk keeps what it takes after that."""
    paused(k, GRAB)
    pte = k.pte(1)
    set_pte(k.w, 0, 0, 1, 0)
    k.past(1, GRAB)
    k.w.machine.memory[frame_of(k.pmd()) << 2 | 1] = pte


def test_a_page_that_was_gone_is_not_returned() -> None:
    """C4: the operation that has unmapped the page did not see the reference."""
    k = small()
    unmapped_late(k)

    with pytest.raises(Violation, match="pinned-behind-unmapping"):
        k.finish(1)


def test_a_page_that_goes_behind_the_reference_may_be_returned() -> None:
    """The operation that unmaps the page finds the reference."""
    k = small()
    paused(k, CHECK)
    pte = k.pte(1)
    set_pte(k.w, 0, 0, 1, 0)
    k.w.machine.memory[frame_of(k.pmd()) << 2 | 1] = pte

    assert READ in k.finish(1)


def test_a_table_is_not_freed_under_a_walker() -> None:
    """C3 holds whatever the walker would read next; after the end of the walk the table may be freed."""
    k = small()
    table = frame_of(k.pmd())
    paused(k, CHECK)
    k.w.machine.psc = [{}, {}]
    with pytest.raises(Violation, match="freed-table-still-walked"):
        free_table(k.w, 0, 0, table)
    k.finish(1)

    free_table(k.w, 0, 0, table)
    assert k.w.free_frames >> table & 1


def test_a_device_reads_what_the_object_contains() -> None:
    """C4 and C3 apply to a read through the pin; no rule applies to an object that has moved."""
    k = small()
    frame = k.frame(1)
    paused(k, READ)
    k.w.machine.memory[frame << 2] = 99
    with pytest.raises(Violation, match="lost-store"):
        k.step(1)
    k.journal.object_left(0, frame)
    k.journal.pin_read(1, 1, frame, 99)
    k.w.free_frames |= 1 << frame
    with pytest.raises(Violation, match="access-to-freed-frame"):
        k.journal.pin_read(1, 1, frame, 99)


def test_what_a_walker_has_cached_counts_at_a_free() -> None:
    """Its interrupts are disabled as in a switch, but it goes on without a check of the generations."""
    k = small()
    k.read(1, 1)
    paused(k, PTE)
    frame = k.frame(1)
    set_pte(k.w, 0, 0, 1, 0)
    k.w.machine.tlb[0].clear()

    with pytest.raises(Violation, match="freed-frame-still-cached"):
        put_page(k.w, frame)


def pauses() -> Iterator[tuple[str, str]]:
    """Yield each step of a walk, with each operation that changes the page."""
    for name in ("munmap", "dontneed", "migrate", "collapse", "free", "fork", "mprotect", "mremap"):
        for before in (*WALK, READ, UNPIN):
            yield name, before


@pytest.mark.parametrize(("name", "before"), list(pauses()))
@pytest.mark.parametrize("policy", ["linux", "linux-pv"])
def test_nothing_is_illegal_around_a_pin(policy: str, name: str, before: str) -> None:
    """Wherever the walk is when the operation begins, both end, and no lock, interrupt or reference is left."""
    k = small(policy, pages=8)
    paused(k, before)
    k.start(0, name, 1, 1, 5 if name == "mremap" else 0)
    advance(k)
    k.finish(1)
    advance(k)
    k.journal.at_rest()

    assert (k.w.walkers, k.w.irqs_off[1], set(k.w.ptl)) == (0, False, {NOBODY})
    assert all(refs in (0, 1) or name == "fork" for refs in k.w.refs)


def test_a_dirty_mark_meanwhile_is_a_change() -> None:
    """If the processor sets D between the two checks, the walk gives up, as the kernel does."""
    k = small()
    k.run(0, "mprotect", 1, 1, R)
    k.run(0, "mprotect", 1, 1, R | 2)
    set_pte(k.w, 0, 0, 1, k.pte(1) & ~DIRTY | 2)
    k.w.machine.tlb[0].clear()
    paused(k, CHECK)
    k.write(0, 1)

    assert READ not in k.finish(1)


def test_the_kind_is_the_last_one() -> None:
    """The kinds before it keep the numbers that stored scenarios have."""
    assert kinds.KINDS[kinds.PIN].name == "pin"
