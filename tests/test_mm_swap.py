"""Swap: a page is written to a slot and its frame freed; every operation that meets its entry afterwards is right."""

import pytest

from shootdown.machine.entry import (
    DIRTY,
    PRESENT,
    RW,
    SOFT_DIRTY,
    SWAP,
    SWP_EXCLUSIVE,
    SWP_SOFT_DIRTY,
    SWP_UFFD_WP,
    UFFD_WP,
)
from shootdown.machine.geometry import FRAME_BITS, frame_of
from shootdown.machine.x86 import POISON_FREE
from shootdown.mm.tables import is_migration, is_swap
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.run.oracle import Violation
from shootdown.scenario.corpus import load
from tests.kernel import BATCHED_FLUSH, Kernel, R, W, cached_twice, written


def swapped_out(pages: int = 1, cpus: int = 2) -> Kernel:
    """Return a kernel whose first pages have the values 1, 2, ... and are in swap."""
    k = Kernel(cpus=cpus)
    for page in range(pages):
        k.write(0, page)
    for page in range(pages):
        k.run(1, "swapout", page)
    return k


def forked_in_swap() -> Kernel:
    """Return a parent on CPU 0 and a child on CPU 1 that share a page, value 1, in swap."""
    k = written()
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    k.run(0, "swapout")
    return k


# Out.


def test_the_order_of_steps() -> None:
    """Unmap under the PTL, flush, write, and free what was flushed."""
    k = cached_twice()

    assert k.run(0, "swapout") == [
        "shrink_folio_list",
        "try_to_unmap",
        "pte_lock",
        "try_to_unmap_one",
        "pte_unlock",
        "try_to_unmap",
        "shrink_folio_list, unmapped",
        "try_to_unmap_flush_dirty",
        *BATCHED_FLUSH,
        "pageout",
        "swap_writepage",
        "flush before free",
        "__remove_mapping, free_unref_folios",
        "return",
    ]


def test_a_page_in_swap() -> None:
    """The entry names the slot, the slot has the content, the frame is free, and no cached translation is left."""
    k = written()
    frame = k.frame()
    k.run(1, "swapout")

    assert is_swap(k.pte())
    assert not is_migration(k.pte())
    assert k.pte() == SWAP | FRAME_BITS[1] | SWP_SOFT_DIRTY | SWP_EXCLUSIVE
    assert (k.w.swap, k.w.swap_map, k.w.swap_cache) == ({1: 1}, {1: 1}, {})
    assert k.journal.freed_frames == [frame]
    assert k.w.machine.read_entry(frame, 0) == POISON_FREE
    assert not k.cached(0)


def test_all_mappings_name_one_slot() -> None:
    """A page that fork shares is unmapped in both spaces, and the slot counts two entries."""
    k = forked_in_swap()

    assert frame_of(k.pte()) == frame_of(k.pte(mm=1)) == 1
    assert k.w.swap_map == {1: 2}


@pytest.mark.parametrize("layout", ["shared", "huge"])
def test_what_is_not_swapped_out(layout: str) -> None:
    """Shared memory and huge pages stay where they are."""
    k = written(layout=layout)

    assert k.run(1, "swapout") == ["shrink_folio_list", "return"]


def test_a_lazily_freed_page_is_not_swapped_out() -> None:
    """Its content may be dropped, which mm/reclaim decides."""
    k = written()
    k.run(0, "free")
    k.run(1, "swapout")

    assert k.pte() & PRESENT


def test_a_store_before_the_flush_is_written() -> None:
    """While its flush is deferred a cached entry still takes stores, and they reach the slot."""
    k = Kernel()
    k.write(1)
    k.start(0, "swapout", until="arch_tlbbatch_flush")
    value = k.write(1)
    k.finish(0)

    assert k.w.swap == {1: value}
    assert k.read(1) == value


def test_a_clean_page_is_not_written_again() -> None:
    """A page that was read in and not written is still in swap; a written page gets another slot and is written."""
    k = swapped_out()
    k.read(0)
    again = [*k.run(1, "swapout")]
    k.write(0)
    written = k.run(1, "swapout")

    assert "swap_writepage" not in again
    assert "try_to_unmap_flush_dirty" not in again
    assert "swap_writepage" in written


def test_a_page_with_another_reference_is_kept() -> None:
    """If a copy-on-write break holds the page, it stays in the swap cache, and both spaces find their content.

    It is flushed before reclaim finds that out, because it is dirty.
    """
    k = written(cpus=3)
    k.run(0, "fork")
    k.start(1, "write", until="cow_user_page")
    names = k.run(2, "swapout")
    frame = k.w.swap_cache[1]

    assert names.index("arch_tlbbatch_flush") < names.index("folio_unlock")
    assert k.w.page_lock == 0
    assert k.w.swap == {}
    assert k.read(0) == 1
    assert k.frame() == frame
    k.finish(1)
    k.run(0, "switch", arg=1)
    assert k.read(0) == 1


# In.


def test_a_store_takes_the_page_out_of_swap() -> None:
    """The only owner gets the page writable and dirty, and the slot is free."""
    k = swapped_out()
    k.write(0)

    assert k.pte() & (PRESENT | RW | DIRTY) == PRESENT | RW | DIRTY
    assert (k.w.swap, k.w.swap_map, k.w.swap_cache) == ({}, {}, {})
    assert k.w.refs[k.frame()] == 1


def test_a_load_leaves_the_copy_in_swap() -> None:
    """The page is read-only and clean, and the slot keeps its content until the first store."""
    k = swapped_out()

    assert k.read(0) == 1
    assert k.pte() & (RW | DIRTY) == 0
    assert (k.w.swap, k.w.swap_map, k.w.swap_cache) == ({1: 1}, {}, {1: k.frame()})
    k.write(0)
    assert k.w.swap == k.w.swap_cache == {}


def test_the_first_of_two_owners_copies() -> None:
    """While another entry names the slot a store makes a copy; the other owner then has the page for itself."""
    k = forked_in_swap()
    mine, theirs = k.write(0), k.read(1)
    kept = k.frame(mm=1)

    assert (mine, theirs) == (2, 1)
    assert k.frame() != kept
    k.write(1)
    assert k.frame(mm=1) == kept
    assert k.read(0) == mine


def test_a_fault_waits_for_the_reclaim() -> None:
    """While reclaim has the folio locked no fault maps it; then the content comes from the slot."""
    k = written()
    k.start(1, "swapout", until="swap_writepage")
    k.start(0, "read", until="do_swap_page")

    k.waits(0, until_end_of=1)
    assert k.shown() == 1


def test_a_fault_that_comes_too_late_changes_nothing() -> None:
    """The entry is dropped between the read and the installation: the access faults anew and finds zeros."""
    k = swapped_out()
    k.start(0, "read", until="set_pte_at")
    k.run(1, "dontneed")
    k.finish(0)

    assert k.shown() == 0
    assert k.w.swap == k.w.swap_cache == k.w.swap_map == {}


# Operations that meet a swap entry.


@pytest.mark.parametrize("operation", ["dontneed", "munmap", "free"])
def test_the_last_entry_takes_the_slot_along(operation: str) -> None:
    """A zap frees the slot, and nothing comes back from it."""
    k = swapped_out()
    k.run(0, operation)

    assert k.pte() == 0
    assert k.w.swap == k.w.swap_map == {}
    assert k.read(1) == ("MAPERR" if operation == "munmap" else 0)


def test_an_exit_takes_its_entries_along() -> None:
    """The child's entry is counted down when it exits, the parent's stays."""
    k = forked_in_swap()
    k.run(1, "exit")

    assert k.w.swap_map == {1: 1}
    assert k.read(0) == 1


def test_an_entry_dropped_during_the_reclaim() -> None:
    """The operation that has the folio locked frees the slot when it is done."""
    k = written()
    k.start(1, "swapout", until="swap_writepage")
    k.run(0, "dontneed")

    assert k.w.swap_cache
    k.finish(1)
    assert k.w.swap == k.w.swap_map == k.w.swap_cache == {}


def test_the_last_mapping_takes_the_copy_along() -> None:
    """A page that was read in has a copy in swap; both are freed when it is unmapped."""
    k = swapped_out()
    k.read(0)
    frame = k.frame()
    k.run(0, "munmap")

    assert k.w.swap == k.w.swap_cache == {}
    assert k.w.free_frames >> frame & 1


def test_fork_copies_the_entry() -> None:
    """The child gets what the parent has in swap, without userfaultfd's mark, and each changes its page alone."""
    k = Kernel()
    k.run(0, "uffd_register")
    k.write(0)
    k.run(0, "swapout")
    k.run(0, "uffd_wp")
    k.run(0, "fork")

    assert k.pte() & SWP_UFFD_WP
    assert not k.pte(mm=1) & SWP_UFFD_WP
    assert k.w.swap_map == {1: 2}
    k.run(0, "dontneed")
    k.run(1, "switch", arg=1)
    assert k.read(1) == 1


def test_mremap_moves_the_entry() -> None:
    """The content is found at the new address and nowhere else."""
    k = swapped_out()
    entry = k.pte()
    k.run(0, "mremap", 0, 1, 2)

    assert k.pte(2) == entry
    assert k.read(0, 2) == 1
    assert k.read(0, 0) == "MAPERR"


def test_mprotect_leaves_the_entry_alone() -> None:
    """The rights are those of the region when the page is read in."""
    k = swapped_out()
    entry = k.pte()
    k.run(0, "mprotect", 0, 1, R)

    assert k.pte() == entry
    assert k.write(0) == "ACCERR"
    assert k.read(0) == 1
    k.run(0, "mprotect", 0, 1, R | W)
    assert k.write(0) == 2


def test_userfaultfd_marks_the_entry() -> None:
    """A page is write-protected in swap as in memory, and the mark comes back with the page."""
    k = swapped_out()
    k.run(0, "uffd_register")
    k.run(0, "uffd_wp")
    assert k.pte() & SWP_UFFD_WP
    told = k.write(1)
    assert k.pte() & UFFD_WP
    k.run(1, "swapout")
    k.run(0, "uffd_unwp")
    assert not k.pte() & SWP_UFFD_WP

    assert told == "userfaultfd"
    assert k.write(1) == 2


def test_clear_refs_clears_the_mark() -> None:
    """A page that was written before and read since is not soft-dirty."""
    k = swapped_out()
    k.run(0, "clear_refs")
    assert not k.pte() & SWP_SOFT_DIRTY
    k.read(0)
    assert not k.pte() & SOFT_DIRTY
    k.write(0)

    assert k.pte() & SOFT_DIRTY


@pytest.mark.parametrize("operation", ["migrate", "age", "reclaim", "swapout"])
def test_the_rmap_does_not_find_the_entry(operation: str) -> None:
    """A slot is not a frame, whatever its number."""
    k = swapped_out()
    entry = k.pte()
    k.run(0, operation)

    assert k.pte() == entry
    assert k.w.page_lock == 0


def test_a_page_in_the_swap_cache_does_not_migrate() -> None:
    """Its second reference stops the migration, which maps it again."""
    k = swapped_out()
    k.read(0)
    entry = k.pte()
    k.run(1, "migrate")

    assert k.pte() == entry
    assert k.w.swap_cache == {1: k.frame()}


def test_khugepaged_leaves_the_table_alone() -> None:
    """A table with a swap entry is not collapsed."""
    k = written(layout="huge")
    k.run(0, "dontneed", 3)
    k.run(1, "swapout")
    pmd = k.pmd()
    k.run(1, "collapse")

    assert k.pmd() == pmd


# The verdicts of the oracle.


def test_what_is_read_in_is_what_was_stored() -> None:
    """If a slot lacks a store, it shows when the page is mapped, even in a frame with the old number."""
    k = swapped_out()
    k.w.swap[1] = 7

    with pytest.raises(Violation, match="copy-missed-a-store"):
        k.read(0)


def test_only_the_order_makes_the_fault() -> None:
    """The store of the story, between writing and flushing, is legal if the flush comes first."""
    scenario = load()["bad_c4_swap_written_before_flush"].scenario
    broken = execute(scenario, REGISTRY["swap-written-before-flush"].make())
    whole = execute(scenario, REGISTRY["linux"].make())

    assert (broken.rule, broken.reason) == ("C4", "copied-under-a-writer")
    assert whole.verdict == "legal"
