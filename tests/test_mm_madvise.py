"""MADV_DONTNEED and MADV_FREE."""

import pytest

from shootdown.machine.entry import ACCESSED, DIRTY
from shootdown.machine.geometry import frame_of
from shootdown.mm.mmap import SHARED
from shootdown.mm.state import MMS
from shootdown.reference.objects import NO_OBJECT
from tests.kernel import FLUSH, Kernel, R, W, cached_twice, prot, written


def test_dontneed_drops_the_content() -> None:
    """After the return every CPU reads zeros from the pages, and the others keep their content."""
    k = Kernel()
    value = k.write(0, 2)
    for page in (0, 1):
        k.write(0, page)
        k.read(1, page)
    k.run(0, "dontneed", 0, 2)

    assert [k.read(cpu, page) for cpu in (0, 1) for page in range(3)] == [0, 0, value] * 2


def test_dontneed_of_shared_memory_keeps_the_content() -> None:
    """A shared page is only unmapped: the next access finds the object again."""
    k = Kernel(layout="shared")
    value = k.write(0)
    k.run(0, "dontneed")

    assert k.pte() == 0
    assert k.read(1) == value


def test_dontneed_of_a_part_keeps_region_and_table() -> None:
    """A region or a page table that covers more than the range is kept."""
    k = written()
    before = list(k.w.vma[0])
    k.run(0, "dontneed", 0, 3)

    assert k.w.vma[0] == before
    assert k.pmd()
    assert k.journal.freed_tables == []


def test_the_order_of_dontneed() -> None:
    """Entries under the PTL, unlock, and then, without the lock of the VMA, flush and free."""
    k = cached_twice()

    assert k.run(0, "dontneed") == [
        "madvise_lock, madvise_walk_vmas",
        "tlb_gather_mmu",
        "zap_pmd_range",
        "pte_lock, flush_tlb_batched_pending",
        "ptep_get_and_clear_full",
        "pte_unlock",
        "vma_end_read",
        "tlb_finish_mmu",
        *FLUSH,
        "free the gather's batch",
        "dec_tlb_flush_pending",
        "return",
    ]


def test_the_order_of_free() -> None:
    """The same around entries that stay: nothing is queued, so nothing is freed."""
    k = cached_twice()

    assert k.run(0, "free") == [
        "madvise_lock, madvise_walk_vmas",
        "tlb_gather_mmu",
        "madvise_free_pte_range",
        "pte_lock, flush_tlb_batched_pending",
        "pte_mkold, pte_mkclean",
        "pte_unlock",
        "vma_end_read",
        "tlb_finish_mmu",
        *FLUSH,
        "dec_tlb_flush_pending",
        "return",
    ]


def test_free_clears_accessed_and_dirty_and_flushes() -> None:
    """MADV_FREE cleans the entry, keeps it mapped, records it, and the flush drops every cached dirty entry."""
    k = written()
    k.write(1)
    names = k.run(0, "free")

    assert not k.pte() & (ACCESSED | DIRTY)
    assert k.w.lazy_free == 1 << k.frame()
    assert "flush_tlb_mm_range" in names
    assert not k.cached(1)
    assert k.journal.freed_frames == []


def test_free_keeps_the_content_until_reclaim() -> None:
    """Without reclaim the old content stays readable."""
    k = Kernel()
    value = k.write(0)
    k.run(0, "free")

    assert k.read(1) == value


def test_a_page_that_is_clean_already_needs_no_flush() -> None:
    """A second MADV_FREE finds nothing to clear and records nothing."""
    k = written()
    k.run(0, "free")

    assert "flush_tlb_mm_range" not in k.run(0, "free")


def test_a_page_shared_with_a_child_is_not_freed_lazily() -> None:
    """MADV_FREE skips a page with more than one reference, and the zero page."""
    k = written()
    k.read(0, 1)
    k.run(0, "fork")
    before = (k.pte(0), k.pte(1))
    k.run(0, "free", 0, 2)

    assert (k.pte(0), k.pte(1)) == before
    assert k.w.lazy_free == 0


@pytest.mark.parametrize("first", [0, 1])
def test_holes_are_passed_over(first: int) -> None:
    """The pages before and after a hole are dropped, although the call fails with ENOMEM."""
    k = Kernel()
    for page in (0, 2, 3):
        k.write(0, page)
    k.run(0, "munmap", 1, 1)
    k.run(0, "dontneed", first, 3 - first)

    assert bool(k.pte(0)) == (first == 1)
    assert k.pte(2) == 0
    assert k.read(1, 3) == 3


def test_free_passes_over_holes_too() -> None:
    """MADV_FREE cleans the pages on both sides of a hole."""
    k = Kernel()
    k.write(0, 0)
    k.write(0, 2)
    k.run(0, "munmap", 1, 1)
    k.run(0, "free", 0, 4)

    assert [k.pte(page) & DIRTY for page in (0, 2)] == [0, 0]


def test_free_of_shared_memory_is_refused() -> None:
    """MADV_FREE is for private memory (EINVAL)."""
    k = written(layout="shared")
    k.run(0, "free")

    assert k.pte() & DIRTY
    assert k.w.lazy_free == 0


def test_what_stands_before_a_region_that_refuses_is_done() -> None:
    """For a private page, shared memory and another private page, MADV_FREE frees the first one and not the
    last one.
    """
    k = Kernel()
    k.run(0, "munmap", 1, 1)
    k.run(0, "mmap", 1, 1, prot(R | W, SHARED))
    for page in range(3):
        k.write(0, page)
    k.run(0, "free", 0, 3)

    assert [bool(k.pte(page) & DIRTY) for page in range(3)] == [False, True, True]
    assert k.w.lazy_free == 1 << k.frame(0)


def test_regions_are_walked_one_after_another() -> None:
    """Two regions under one page table are two walks, each under the PTL."""
    k = written()
    k.run(0, "mprotect", 1, 1, R)
    names = k.run(0, "dontneed", 0, 2)

    assert names.count("pte_lock, flush_tlb_batched_pending") == 2


@pytest.mark.parametrize("other", ["dontneed", "free"])
def test_an_operation_that_passes_over_unflushed_changes_flushes_everything(other: str) -> None:
    """While another gather is open, one that finds the entries already changed still flushes (99baac21e458)."""
    k = written(cpus=3)
    k.write(2)
    k.start(0, "dontneed", until="tlb_finish_mmu")
    assert k.cached(2)
    names = k.run(1, other)

    assert "flush_tlb_mm_range" in names
    assert not k.cached(2)
    assert k.read(2) == 0


def test_both_finishing_orders_flush() -> None:
    """The gather that finishes second flushes what it recorded itself: the first one's full flush came too early."""
    k = Kernel(cpus=3)
    values = [k.write(0, page) for page in (0, 1)]
    k.start(0, "dontneed", 0, past="tlb_gather_mmu")
    k.start(1, "dontneed", 1)
    k.finish(1)
    assert k.read(2, 0) == values[0]
    names = k.finish(0)

    assert "flush_tlb_mm_range" in names
    assert [k.read(2, page) for page in (0, 1)] == [0, 0]


def test_dontneed_of_a_migration_entry_lets_the_copy_go() -> None:
    """A page that is dropped while it migrates leaves nothing behind: both frames are free at the end."""
    k = written()
    free = k.w.free_frames | 1 << k.frame()
    k.start(1, "migrate", until="remove_migration_ptes")
    k.run(0, "dontneed")
    k.finish(1)

    assert k.w.free_frames == free
    assert k.read(0) == 0


@pytest.mark.parametrize("layout", ["private", "huge"])
def test_a_page_that_is_dropped_is_no_longer_the_parents(layout: str) -> None:
    """When one of two owners drops a shared frame, its object is gone, and stores of the other do not reach it."""
    k = written(layout=layout)
    frame = frame_of(k.pmd() if layout == "huge" else k.pte())
    k.run(0, "fork")
    k.run(0, "dontneed", 0, 4)

    assert k.journal.objects[frame * MMS] == NO_OBJECT
    assert k.journal.objects[frame * MMS + 1] != NO_OBJECT


def test_dontneed_works_without_rights() -> None:
    """A page under PROT_NONE is dropped like any other."""
    k = written()
    k.run(0, "mprotect", 0, 1, 0)
    k.run(0, "dontneed")
    k.run(0, "mprotect", 0, 1, prot(R | W))

    assert k.read(0) == 0
