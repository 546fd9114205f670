"""MADV_DONTNEED frees the page table that it has emptied (CONFIG_PT_RECLAIM)."""

import pytest

from shootdown.machine.entry import PSE
from shootdown.machine.geometry import frame_of
from shootdown.mm.mmap import HUGE, SHARED
from tests.kernel import FLUSH, Kernel, R, W, prot, written

EMPTY = "zap_empty_pte_table"
LOCK = "pte_lock, flush_tlb_batched_pending"
IF_EMPTY = "zap_pte_table_if_empty"


def test_the_table_goes_with_its_last_entry() -> None:
    """The region stays; the table is unhooked under the PTL, and freed after a flush that reaches lazy CPUs too."""
    k = written(batch=8)
    table = frame_of(k.pmd())
    k.run(1, "read")
    k.run(1, "lazy")
    names = k.run(0, "dontneed", 0, 4)

    assert names[names.index(EMPTY) :] == [
        EMPTY,
        "pte_unlock",
        "vma_end_read",
        "tlb_finish_mmu",
        *FLUSH,
        "free the gather's batch",
        "dec_tlb_flush_pending",
        "return",
    ]
    assert k.journal.freed_tables == [table]
    assert k.pmd() == 0
    assert k.w.loaded_mm[1] == -1
    assert k.read(0) == 0


@pytest.mark.parametrize("first", [0, 1])
def test_two_regions_under_one_table_keep_it(first: int) -> None:
    """No walk covers the whole table."""
    k = Kernel()
    k.run(0, "mprotect", first, 1, R)
    k.read(0)
    k.run(0, "dontneed", 0, 4)

    assert k.pmd()
    assert not any(k.pte(page) for page in range(4))


def test_of_two_tables_the_covered_one_goes() -> None:
    """Each table is checked separately."""
    k = Kernel(pages=8)
    for page in range(8):
        k.write(0, page)
    k.run(0, "dontneed", 2, 6)

    assert k.pmd(0)
    assert k.pmd(1) == 0
    assert len(k.journal.freed_tables) == 1


def test_free_and_migration_and_swap_keep_it() -> None:
    """No other operation frees tables: neither MADV_FREE with its reclaim, nor swap."""
    k = written()
    k.run(0, "free", 0, 4)
    k.run(1, "reclaim")

    assert k.pte() == 0
    assert k.pmd()


def test_a_marker_keeps_its_table() -> None:
    """Shared memory that stays write-protected leaves a marker in the table (any_skipped)."""
    k = written(layout="shared")
    k.run(0, "uffd_register", 0, 4)
    k.run(0, "uffd_wp", 0, 1)
    k.run(0, "dontneed", 0, 4)

    assert k.pte(0)
    assert k.journal.freed_tables == []


def test_a_full_batch_leaves_the_table_to_a_second_look() -> None:
    """The PTL is released for the flush, and the table is checked again under both locks."""
    k = Kernel(batch=2)
    for page in range(4):
        k.write(0, page)
    names = k.run(0, "dontneed", 0, 4)

    assert EMPTY not in names
    at = names.index(IF_EMPTY)
    assert names[at - 1 : at + 2] == ["free the gather's batch", IF_EMPTY, "vma_end_read"]
    assert k.pmd() == 0
    assert len(k.journal.freed_tables) == 1


def test_what_was_mapped_meanwhile_keeps_the_table() -> None:
    """A fault between the release of the PTL and the second look puts a page in, which stays."""
    k = Kernel(batch=2)
    for page in range(4):
        k.write(0, page)
    k.start(0, "dontneed", 0, 4, until=IF_EMPTY)
    value = k.write(1, 2)
    k.finish(0)

    assert k.journal.freed_tables == []
    assert k.read(0, 2) == value


def test_the_pmd_lock_is_only_tried() -> None:
    """The holder of the PTL does not wait for the PMD lock: the table is checked again without the PTL."""
    k = written(pages=8, batch=8)
    k.start(0, "dontneed", 0, 4, until=EMPTY)
    k.w.pmd_lock[0] = 1
    k.past(0, EMPTY)
    assert k.pmd()
    k.past(0, "pte_unlock")
    assert k.next(0) == IF_EMPTY
    assert not k.step(0)
    k.w.pmd_lock[0] = -1
    k.finish(0)

    assert k.pmd() == 0
    assert len(k.journal.freed_tables) == 1


@pytest.mark.parametrize("other", ["uffd_wp", "numa_scan", "free", "dontneed"])
def test_a_walk_finds_no_table_any_more(other: str) -> None:
    """A walk that has read the PMD and waits for the PTL checks again, and skips the missing table."""
    k = written(cpus=3, batch=8)
    k.run(0, "uffd_register", 0, 4)
    k.start(1, other, 0, 4, until=LOCK)
    k.run(0, "dontneed", 0, 4)
    k.finish(1)

    assert k.pmd() == 0
    assert k.w.ptl == [-1] * 6
    assert isinstance(k.write(2), int)


@pytest.mark.parametrize(
    ("other", "is_kept"),
    [("uffd_wp", True), ("numa_scan", True), ("free", True), ("dontneed", False)],
)
def test_a_walk_finds_a_huge_page_instead(other: str, *, is_kept: bool) -> None:
    """A fault has mapped 2 MiB after the walk read the PMD: it is changed, or zapped; MADV_FREE leaves it alone."""
    k = Kernel(layout="huge", cpus=3, batch=8)
    k.run(0, "munmap", 3, 1)
    for page in range(3):
        k.write(0, page)
    k.run(0, "mmap", 3, 1, prot(R | W, HUGE))
    k.run(0, "uffd_register", 0, 4)
    k.start(1, other, 0, 4, until=LOCK)
    k.run(0, "dontneed", 0, 4)
    value = k.write(2, 1)
    assert k.pmd() & PSE
    k.finish(1)

    assert value == 4
    assert k.read(0, 1) == (value if is_kept else 0)
    assert (k.write(0, 1) == "userfaultfd") == (other == "uffd_wp")


def test_a_fault_that_finds_the_table_gone_tries_again() -> None:
    """A fault that has read the PMD maps its page into the table that exists later."""
    k = written(cpus=3, batch=8)
    k.start(1, "write", 1, until="do_anonymous_page")
    k.run(0, "dontneed", 0, 4)
    k.finish(1)

    assert k.read(2, 1) == k.shown() == 2
    assert len(k.journal.freed_tables) == 1


def test_a_migration_of_a_dropped_page_ends() -> None:
    """A migration entry is cleared like any other, and the table is freed."""
    k = written(batch=8)
    k.start(1, "migrate", until="remove_migration_ptes")
    k.run(0, "dontneed", 0, 4)
    k.finish(1)

    assert k.pmd() == 0
    assert k.read(0) == 0


def test_a_lockless_walk_holds_the_table_back() -> None:
    """If pin_user_pages_fast has read the PMD, the table is unhooked, and freed when the walk has ended."""
    k = written(batch=8)
    table = frame_of(k.pmd())
    k.start(1, "pin", until="gup_fast_pte_range, pte_offset_map")
    k.start(0, "dontneed", 0, 4, past=EMPTY)
    k.step(1)
    k.finish(1)
    k.finish(0)

    assert k.journal.freed_tables == [table]


def test_shared_memory_is_found_again() -> None:
    """The object outlives the table."""
    k = Kernel()
    k.run(0, "munmap", 0, 4)
    k.run(0, "mmap", 0, 4, prot(R | W, SHARED))
    value = k.write(0, 2)
    k.run(0, "dontneed", 0, 4)

    assert k.pmd() == 0
    assert k.read(1, 2) == value
