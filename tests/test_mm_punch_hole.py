"""Hole punching: every mapping of the page is removed, its frame is freed after the flush, and the file
reads as zeros.
"""

import pytest

from shootdown.machine.geometry import PAGES
from shootdown.mm.mmap import FILE
from shootdown.mm.page_cache import mapped_at
from tests.kernel import FLUSH, Kernel, R, W, prot, written

PUNCH = "punch"


def test_the_order_of_steps() -> None:
    """Each region is zapped in its own gather under the PTL; the folio is removed when nothing maps it."""
    k = Kernel(layout="file")
    k.read(0)
    assert k.run(1, PUNCH) == [
        "folio_lock, fallocate",
        "tlb_gather_mmu",
        "unmap_mapping_range",
        "pte_lock, flush_tlb_batched_pending",
        "zap_pte_range",
        "ptep_get_and_clear_full",
        "pte_unlock",
        "tlb_finish_mmu",
        *FLUSH,
        "free the gather's batch",
        "dec_tlb_flush_pending",
        "unmap_mapping_folio",
        "truncate_inode_folio",
        "return",
    ]


def test_a_region_without_an_entry_is_visited() -> None:
    """Another zap has cleared the entry and not flushed: the hole exists only after everything is flushed."""
    k = Kernel(layout="file")
    k.read(1)
    k.start(0, "dontneed", until="tlb_finish_mmu")
    assert k.cached(1)
    k.run(1, PUNCH)

    assert not k.cached(1)


def test_what_is_read_in_meanwhile_is_punched_too() -> None:
    """If a fault comes after the begin, in a page without a folio, the folio is removed as well."""
    k = Kernel(layout="file")
    k.start(1, PUNCH, until="truncate_inode_pages_range")
    k.read(0)
    frame = k.frame(0)
    k.finish(1)

    assert k.w.free_frames >> frame & 1
    assert k.pte() == 0


def test_what_a_region_leaves_is_found_by_the_reverse_map() -> None:
    """When the walk comes to it, a munmap has taken out the region but not its entry."""
    k = Kernel(layout="file")
    k.read(0)
    k.start(1, PUNCH, until="zap_pte_range")
    frame = k.frame(0)
    k.start(0, "munmap", until="pte_lock, flush_tlb_batched_pending")
    k.finish(1)

    assert k.w.free_frames >> frame & 1
    k.finish(0)
    k.journal.at_rest()


def test_a_new_region_in_the_place_of_the_files_is_left_alone() -> None:
    """Private memory is mapped at the address before the walk reaches it."""
    k = Kernel(layout="file")
    k.read(0)
    k.start(1, PUNCH, until="unmap_mapping_range")
    k.run(0, "munmap")
    k.run(0, "mmap", arg=prot(R | W))
    value = k.write(0)
    k.finish(1)

    assert k.read(0) == value


def test_the_page_is_unmapped_in_every_space_and_reads_as_zeros() -> None:
    """Parent and child lose it, the frame is free, and both see one new page of the file."""
    k = written(layout="file")
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    k.write(1)
    frame = k.frame(0)
    k.run(0, PUNCH)

    assert k.w.free_frames >> frame & 1
    assert mapped_at(k.w, frame) == []
    assert k.read(1) == 0
    value = k.write(0)
    assert k.read(1) == value
    k.journal.at_rest()


def test_what_was_written_back_is_gone() -> None:
    """The hole is in the backing store as well, whether the page is in memory or not."""
    k = written(layout="file")
    k.run(1, "writeback")
    k.run(1, PUNCH)
    assert k.w.disk == {}
    steps = k.run(1, PUNCH)
    assert "truncate_inode_pages_range" in steps
    assert "truncate_inode_folio" not in steps
    assert k.read(0) == 0


@pytest.mark.parametrize("other", ["writeback", "migrate"])
def test_it_waits_for_who_has_the_folio(other: str) -> None:
    """A folio is not dropped while it is written or copied."""
    k = written(layout="file")
    k.start(0, other)
    while not k.w.page_lock:
        k.step(0)
    k.start(1, PUNCH)
    k.waits(1, until_end_of=0)
    assert k.w.shared[PAGES] == -1


def test_a_fault_waits_until_the_folio_is_gone() -> None:
    """No fault maps a folio that is about to be freed."""
    k = written(layout="file")
    k.start(1, PUNCH, until="truncate_inode_folio")
    k.start(0, "read", until="do_anonymous_page")
    k.waits(0, until_end_of=1)
    assert k.read(0) == 0


def test_a_mapping_that_moves_is_found_at_its_new_place() -> None:
    """The walk ends when the reverse map has nothing left, wherever mremap has moved it."""
    k = Kernel(layout="empty", cpus=3)
    k.run(0, "mmap", 0, 1, prot(R | W, FILE))
    k.write(2)
    k.start(0, "mremap", 0, 1, 1, until="move_ptes")
    k.start(1, PUNCH, until="tlb_gather_mmu")
    k.step(1)
    k.finish(0)
    k.finish(1)
    assert k.pte(1) == 0
    assert k.read(2, 1) == 0


def test_a_mapping_that_is_gone_when_the_table_is_locked_is_left_alone() -> None:
    """Private memory replaces what the reverse map has found, before the walk has the PTL."""
    k = Kernel(layout="file")
    k.read(0)
    k.start(1, PUNCH, until="unmap_mapping_range")
    k.run(0, "mremap", 0, 1, 2)
    k.past(1, "unmap_mapping_folio")
    k.until(1, "pte_lock, flush_tlb_batched_pending")
    k.run(0, "munmap", 2)
    k.run(0, "mmap", 2, 1, prot(R | W))
    value = k.write(0, 2)
    k.finish(1)

    assert k.read(0, 2) == value
