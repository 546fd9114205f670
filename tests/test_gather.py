"""mmu_gather: the recorded range, batches, freed tables, and the nested full flush."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.mm.frames import alloc_frame
from shootdown.mm.state import FLUSHES
from shootdown.mm.world import World
from shootdown.optimized.state import Gather
from tests.kernel import FLUSH, Kernel, R, written

SPANS = st.lists(st.tuples(st.integers(0, 7), st.integers(1, 4)), min_size=1, max_size=5)

FREE = "free the gather's batch"
END = "dec_tlb_flush_pending"


def opened(*, batch: int = 4, pages: int = 4) -> Kernel:
    """Return a kernel whose CPU 0 has an open gather of address space 0."""
    k = Kernel(batch=batch, pages=pages)
    k.w.flush.gather_begin(k.w, 0, 0)
    return k


def gather_of(k: Kernel, cpu: int = 0) -> Gather:
    """Return the CPU's open gather."""
    gather = k.state.gathers[cpu]
    assert gather is not None
    return gather


def clear(w: World, page: int, count: int = 1, cpu: int = 0) -> None:
    """Record that entries were cleared."""
    w.flush.entry_cleared(w, cpu, 0, page, count, 1, 0)


def pending_steps(k: Kernel, cpu: int = 0) -> list[tuple[int, ...]]:
    """Return the arguments of the flushes that the CPU has still to send: mm, first page, count, freed tables."""
    return [s[1:] for s in reversed(k.w.steps[cpu]) if len(s) == 5]


def finished(k: Kernel, cpu: int = 0) -> list[str]:
    """Return the names of the steps that closing the CPU's gather takes."""
    k.names[cpu].clear()
    k.w.flush.gather_finish(k.w, cpu)
    return k.finish(cpu)


@given(SPANS)
def test_the_range_is_the_hull(spans: list[tuple[int, int]]) -> None:
    """The recorded range is the smallest that covers everything recorded, in any order."""
    gather = Gather(0)
    assert gather.end == 0
    for first, count in spans:
        gather.record(first, count)

    assert gather.start == min(first for first, _ in spans)
    assert gather.end == max(first + count for first, count in spans)


def test_beginning_raises_the_pending_count() -> None:
    """tlb_flush_pending counts the open gathers of its address space, and falls when they end."""
    k = opened()
    k.w.flush.gather_begin(k.w, 1, 0)
    assert k.state.pending == [2, 0, 0]
    assert k.state.count_open(0) == 2
    assert k.w.flush.flush_pending(k.w, 0)
    assert not k.w.flush.flush_pending(k.w, 1)
    finished(k, 0)
    finished(k, 1)

    assert k.state.pending == [0, 0, 0]
    assert k.state.gathers == [None, None]


def test_nothing_recorded_nothing_flushed() -> None:
    """A gather that ends alone and empty sends no flush."""
    assert finished(opened()) == [END]


def test_one_flush_for_all_that_was_recorded() -> None:
    """Any number of recorded entries cost one flush, of the hull, and the count falls after it."""
    k = opened()
    clear(k.w, 3)
    clear(k.w, 1)
    k.names[0].clear()
    k.w.flush.gather_finish(k.w, 0)

    assert pending_steps(k) == [(0, 1, 3, 0)]
    assert k.finish(0) == [*FLUSH, END]
    assert k.w.costs[FLUSHES] == 1


def test_the_count_falls_behind_the_flush() -> None:
    """Until the last acknowledgement the gather counts as pending (linux-tlb G.10)."""
    k = opened()
    clear(k.w, 0)
    k.w.flush.gather_finish(k.w, 0)
    while k.next(0) != "dec_tlb_flush_pending":
        assert k.state.pending[0] == 1
        k.step(0)
    assert k.names[0].count("flush_tlb_func") == 2


def test_pages_are_freed_behind_the_flush() -> None:
    """The batch's references are dropped when every CPU has acknowledged (unhook, invalidate, free)."""
    k = opened()
    frame = alloc_frame(k.w)
    clear(k.w, 0)
    k.w.flush.page_removed(k.w, 0, frame, 1)
    k.w.flush.gather_finish(k.w, 0)
    k.until(0, FREE)
    assert k.journal.freed_frames == []
    k.step(0)

    assert k.journal.freed_frames == [frame]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("queued", ["nothing", "page", "table"])
def test_a_free_is_a_step_when_something_is_queued(queued: str, *, last: bool) -> None:
    """After a flush, in between or at the end, comes a free iff a page or a table waits for it."""
    k = opened()
    clear(k.w, 0)
    if queued == "page":
        k.w.flush.page_removed(k.w, 0, alloc_frame(k.w), 1)
    elif queued == "table":
        k.w.flush.table_removed(k.w, 0, 0, 0, alloc_frame(k.w))
    k.names[0].clear()
    (k.w.flush.gather_finish if last else k.w.flush.gather_flush)(k.w, 0)

    assert k.finish(0) == [
        *FLUSH,
        *[FREE] * (queued != "nothing"),
        *[END] * last,
    ]


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_a_full_batch_says_so(batch: int) -> None:
    """page_removed reports that the caller must flush with the page that fills the batch, and with no earlier one."""
    k = opened(batch=batch)
    full = [k.w.flush.page_removed(k.w, 0, alloc_frame(k.w), 1) for _ in range(batch)]

    assert full == [False] * (batch - 1) + [True]


def test_a_flush_in_between_leaves_the_gather_open() -> None:
    """tlb_flush_mmu flushes and frees what there is; what comes later is recorded anew."""
    k = opened()
    frame = alloc_frame(k.w)
    clear(k.w, 0, 2)
    k.w.flush.page_removed(k.w, 0, frame, 1)
    k.w.flush.gather_flush(k.w, 0)
    assert pending_steps(k) == [(0, 0, 2, 0)]
    k.finish(0)
    assert k.journal.freed_frames == [frame]
    assert k.state.pending[0] == 1
    clear(k.w, 3)
    k.w.flush.gather_finish(k.w, 0)

    assert pending_steps(k) == [(0, 3, 1, 0)]


def test_a_freed_table_widens_the_range_and_is_marked() -> None:
    """A removed page table covers all its pages, its flush says freed_tables, and its frame is freed after it."""
    k = opened()
    frame = alloc_frame(k.w)
    k.w.flush.table_removed(k.w, 0, 0, 1, frame)
    k.w.flush.gather_finish(k.w, 0)

    assert pending_steps(k) == [(0, FANOUT, FANOUT, 1)]
    k.until(0, FREE)
    assert k.journal.freed_tables == []
    k.step(0)
    assert k.journal.freed_tables == [frame]


def test_the_mark_of_freed_tables_goes_with_its_flush() -> None:
    """A second flush of the same gather does not claim freed tables again."""
    k = opened()
    k.w.flush.table_removed(k.w, 0, 0, 0, alloc_frame(k.w))
    k.w.flush.gather_flush(k.w, 0)
    k.finish(0)
    clear(k.w, 0)
    k.w.flush.gather_finish(k.w, 0)

    assert pending_steps(k) == [(0, 0, 1, 0)]


@pytest.mark.parametrize("recorded", [False, True])
def test_a_nested_gather_flushes_everything(*, recorded: bool) -> None:
    """With another gather open, the end is a full flush that counts as one of freed tables, recorded or not."""
    k = opened()
    k.w.flush.gather_begin(k.w, 1, 0)
    if recorded:
        clear(k.w, 2)
    k.w.flush.gather_finish(k.w, 0)

    assert pending_steps(k) == [(0, 0, PAGES, 1)]


def test_the_last_gather_is_not_nested() -> None:
    """When the others have ended, a gather flushes only what it recorded (linux-tlb G.10)."""
    k = opened()
    k.w.flush.gather_begin(k.w, 1, 0)
    clear(k.w, 1)
    finished(k, 1)
    k.w.flush.gather_finish(k.w, 0)

    assert pending_steps(k) == [(0, 1, 1, 0)]


def test_gathers_of_other_spaces_do_not_nest() -> None:
    """An open gather of another address space is no reason for a full flush."""
    k = opened()
    k.w.flush.gather_begin(k.w, 1, 1)

    assert finished(k) == [END]


def test_the_rule_decides_what_is_recorded() -> None:
    """A protection change is recorded when the rule says so; otherwise the observer is told what was skipped."""
    k = opened()
    k.w.flush.protection_changed(k.w, 0, 0, 1, 0x67, 0x65)
    assert (gather_of(k).start, gather_of(k).end) == (1, 2)
    k.w.flush.protection_changed(k.w, 0, 0, 3, 0x65, 0x465)

    assert (gather_of(k).start, gather_of(k).end) == (1, 2)
    assert k.journal.skipped_changes == [(0, 3, 0x65, 0x465)]


def test_a_huge_change_is_recorded_with_all_its_pages() -> None:
    """If huge pages are not flushed inline, the huge rule decides, and the range is the whole leaf."""
    k = opened(pages=8)
    assert not k.w.flush.huge_inline()
    k.w.flush.huge_changed(k.w, 0, 0, 4, 0xE7, 0xE5)
    assert (gather_of(k).start, gather_of(k).end) == (4, 8)
    k.w.flush.huge_changed(k.w, 0, 0, 0, 0xE5, 0x4E5)

    assert (gather_of(k).start, gather_of(k).end) == (4, 8)
    assert [skip[1] for skip in k.journal.skipped_changes] == [0, 1, 2, 3]


def test_inline_huge_changes_are_not_recorded() -> None:
    """If huge pages are flushed inline, the gather has nothing to do with them."""
    k = Kernel("v1")
    k.w.flush.gather_begin(k.w, 0, 0)
    assert k.w.flush.huge_inline()
    k.w.flush.huge_changed(k.w, 0, 0, 0, 0xE7, 0xE5)

    assert gather_of(k).end == 0


def test_deferred_ranges_are_flushed_together_when_they_are_due() -> None:
    """What an operation deferred is flushed by its next due point, once per address space, over the hull."""
    k = Kernel()
    k.w.flush.defer_page(k.w, 0, 0, 3)
    k.w.flush.defer_page(k.w, 0, 1, 2)
    k.w.flush.defer_page(k.w, 0, 0, 1)
    k.w.flush.due(k.w, 0, 0)
    assert pending_steps(k) == [(0, 1, 3, 0), (1, 2, 1, 0)]
    k.finish(0)
    k.w.flush.due(k.w, 0, 0)

    assert k.w.steps[0] == []


def test_a_deferred_range_claims_freed_tables() -> None:
    """Ranges and whole spaces claim freed tables, and a hull does when one of its parts does (3ef938c35035)."""
    k = Kernel()
    k.w.flush.defer(k.w, 0, 0, 1, 2)
    k.w.flush.defer_page(k.w, 0, 0, 3)
    k.w.flush.due(k.w, 0, 0)

    assert pending_steps(k) == [(0, 1, 3, 1)]


def test_an_unmap_through_the_rmap_is_seen_by_others() -> None:
    """flush_tlb_batched_pending flushes all of an address space once for each batch of deferred unmaps."""
    k = Kernel()
    k.w.flush.flush_batched_pending(k.w, 1, 0)
    assert k.w.steps[1] == []
    k.w.flush.defer_unmap(k.w, 0, 0, 2)
    k.w.flush.flush_batched_pending(k.w, 1, 0)
    assert pending_steps(k, 1)[0][:3] == (0, 0, PAGES)
    k.finish(1)
    k.w.flush.flush_batched_pending(k.w, 1, 0)

    assert k.w.steps[1] == []


def test_an_unmap_during_the_flush_is_not_taken_for_flushed() -> None:
    """Only work that was pending before the flush counts as done (linux-tlb B.2)."""
    k = Kernel()
    k.w.flush.defer_unmap(k.w, 0, 0, 2)
    k.w.flush.flush_batched_pending(k.w, 1, 0)
    k.until(1, "flush_tlb_batched_pending done")
    k.w.flush.defer_unmap(k.w, 0, 0, 3)
    k.finish(1)
    k.w.flush.flush_batched_pending(k.w, 1, 0)

    assert k.next(1) == "flush_tlb_mm_range"


def test_an_ordinary_deferral_is_nobody_elses_business() -> None:
    """A flush that an operation still owes under its own locks does not show in flush_tlb_batched_pending."""
    k = Kernel()
    k.w.flush.defer(k.w, 0, 0, 2, 1)
    k.w.flush.flush_batched_pending(k.w, 1, 0)

    assert k.w.steps[1] == []


def test_the_declared_variable() -> None:
    """It is 0 at rest, depends on recording and deferral, and stays below 12."""
    k = Kernel()
    seen = [k.w.flush.variable(k.w, 0)]
    k.w.flush.gather_begin(k.w, 0, 0)
    seen.append(k.w.flush.variable(k.w, 0))
    clear(k.w, 0)
    seen.append(k.w.flush.variable(k.w, 0))
    k.w.flush.defer_page(k.w, 0, 0, 1)
    seen.append(k.w.flush.variable(k.w, 0))
    k.w.flush.defer_unmap(k.w, 0, 0, 1)
    seen.append(k.w.flush.variable(k.w, 0))

    assert seen[0] == 0
    assert len(set(seen)) == 5
    assert max(seen) < 12
    assert k.w.flush.variable(k.w, 1) == 2


def test_how_far_contexts_are_behind() -> None:
    """Loaded contexts count up to 3; one that a CPU keeps, for another space or while it is lazy, up to 15."""
    k = Kernel()
    k.run(0, "fork")
    assert k.w.flush.behind(k.w, 0) == (0, 0)
    k.run(0, "switch", arg=1)
    k.state.tlb_gen[0] += 2
    assert k.w.flush.behind(k.w, 0) == (2, 2)
    assert k.w.flush.behind(k.w, 1) == (0, 0)
    k.w.lazy[1] = True
    assert k.w.flush.behind(k.w, 0) == (0, 2)
    k.state.tlb_gen[0] += 20
    assert k.w.flush.behind(k.w, 0) == (0, 15)
    k.w.lazy[1] = False
    assert k.w.flush.behind(k.w, 0) == (3, 15)


def test_a_skipped_change_costs_no_flush() -> None:
    """A promotion by mprotect is without a flush under v3, and with one under the merged rule."""
    costs = {}
    for policy in ("v3", "linux"):
        k = written(policy)
        k.run(0, "mprotect", arg=R)
        before = k.w.costs[FLUSHES]
        k.run(0, "mprotect", arg=3)
        costs[policy] = k.w.costs[FLUSHES] - before

    assert costs == {"v3": 0, "linux": 1}
