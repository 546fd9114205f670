"""mremap: entries move, and the old addresses are flushed before either table lock is released."""

import pytest

from shootdown.machine.entry import DIRTY, PROTNONE, PSE, SWP_UFFD_WP, UFFD_WP
from shootdown.machine.geometry import PAGES, frame_of
from shootdown.mm.state import NOBODY, VM_UFFD_WP
from tests.kernel import FLUSH, Kernel, R, W, X, written


def kernel_with_hole(cpus: int = 2) -> Kernel:
    """Return a kernel with pages 0 and 1 stored to and pages 4 to 7 a hole; the value of page i is i + 1."""
    k = Kernel(cpus=cpus, pages=8)
    k.run(0, "munmap", 4, 4)
    for page in (0, 1):
        k.write(0, page)
    return k


def test_content_and_rights_move() -> None:
    """Afterwards the pages are at the new place with content and region, and the old place is a hole."""
    k = kernel_with_hole()
    k.run(0, "mprotect", 1, 1, R)
    vma = list(k.w.vma[0])
    k.run(0, "mremap", 0, 2, 6)

    assert k.w.vma[0] == [0, 0, *vma[2:6], *vma[0:2]]
    assert [k.read(1, page) for page in (0, 1, 6, 7)] == ["MAPERR", "MAPERR", 1, 2]
    assert isinstance(k.write(1, 6), int)
    assert k.write(1, 7) == "ACCERR"


def test_the_frame_stays() -> None:
    """Nothing is copied: the same frame, with the same flags, is mapped at the new place."""
    k = kernel_with_hole()
    entry = k.pte(0)
    k.run(0, "mremap", 0, 1, 4)

    assert k.pte(4) == entry
    assert k.pte(0) == 0
    assert k.journal.freed_frames == []


def test_the_old_address_is_flushed_before_the_locks_go() -> None:
    """Both PTLs, the moves, the flush of the old range, and then the unlocks (eb66ae030829)."""
    k = kernel_with_hole()
    k.write(0, 2)
    k.run(0, "mremap", 2, 1, 7)
    for page in (0, 1):
        k.read(1, page)
    names = k.run(0, "mremap", 0, 2, 5)

    assert names[:2] == ["mmap_write_lock, mremap_to", "move_vma"]
    assert names[-1] == "mmap_write_unlock, return"
    start = names.index("pte_lock")
    assert names[start : start + 11] == [
        "pte_lock",
        "pte_lock",
        "flush_tlb_batched_pending",
        "move_ptes",
        "move_ptes",
        "flush before unlock",
        *FLUSH,
        "pte_unlock",
        "pte_unlock",
    ]
    assert not any(k.cached(cpu, page) for cpu in (0, 1) for page in (0, 1))


def test_within_one_table_there_is_one_lock() -> None:
    """A move inside one page table takes its PTL once."""
    k = written()
    k.run(0, "munmap", 2, 2)
    names = k.run(0, "mremap", 0, 1, 2)

    assert names.count("pte_lock") == names.count("pte_unlock") == 1
    assert k.read(1, 2) == 1


def test_both_table_locks_are_held_during_the_move() -> None:
    """From the first move to the end of the flush the CPU holds the PTLs of both tables."""
    k = kernel_with_hole()
    k.start(0, "mremap", 0, 1, 4, until="move_ptes")
    while k.next(0) != "pte_unlock":
        assert k.w.ptl[:2] == [0, 0]
        k.step(0)
    k.past(0, "pte_unlock")
    k.past(0, "pte_unlock")

    assert k.w.ptl[:2] == [NOBODY, NOBODY]


def test_a_window_is_open_until_the_flush() -> None:
    """A store through an entry of the old address reaches the page at its new address."""
    k = kernel_with_hole()
    k.write(1)
    k.start(0, "mremap", 0, 1, 4, until="flush_tlb_mm_range")
    value = k.write(1)
    k.finish(0)

    assert k.read(1, 4) == value


@pytest.mark.parametrize(
    ("page", "count", "target"), [(0, 2, 1), (1, 2, 0), (0, 2, 7), (0, 1, 0), (4, 2, 6)]
)
def test_a_move_that_does_not_fit_is_refused(page: int, count: int, target: int) -> None:
    """The source begins mapped, and the target does not overlap it and is inside the space; otherwise
    nothing changes.
    """
    k = kernel_with_hole()
    vma, entries = list(k.w.vma[0]), [k.pte(i) for i in range(8)]
    names = k.run(0, "mremap", page, count, target)

    assert k.w.vma[0] == vma
    assert [k.pte(i) for i in range(8)] == entries
    assert names == ["mmap_write_lock, mremap_to", "mmap_write_unlock, return"]


def test_what_was_at_the_target_is_unmapped_first() -> None:
    """As with MREMAP_FIXED: the old pages of the target are flushed and freed before the first entry moves."""
    k = kernel_with_hole()
    old = k.frame(1)
    k.read(1, 1)
    names = k.run(0, "mremap", 0, 1, 1)

    assert k.journal.freed_frames == [old]
    assert names[0] == "mmap_write_lock, mremap_to"
    assert names.index("free the gather's batch") < names.index("move_vma")
    assert names.index("move_vma") < names.index("move_ptes")
    assert names.index("flush_tlb_func") < names.index("free the gather's batch")
    assert [k.read(1, page) for page in (0, 1)] == ["MAPERR", 1]


def test_a_target_that_is_partly_mapped_is_replaced_whole() -> None:
    """Mapped pages and holes of the target all hold the moved pages afterwards."""
    k = kernel_with_hole()
    k.write(0, 3)
    k.run(0, "mremap", 0, 2, 3)

    assert [k.read(1, page) for page in (0, 1, 3, 4)] == ["MAPERR", "MAPERR", 1, 2]
    assert len(k.journal.freed_frames) == 1


def test_the_source_table_is_freed_when_it_is_empty() -> None:
    """When no region is left above the old table, it is freed after a flush that says so."""
    k = kernel_with_hole()
    k.run(0, "munmap", 2, 2)
    k.run(1, "lazy")
    k.run(0, "mremap", 0, 2, 4)

    assert len(k.journal.freed_tables) == 1
    assert k.pmd(0) == 0
    assert k.w.loaded_mm[1] == -1


def test_pages_that_were_never_touched_move_without_a_flush() -> None:
    """A source without a page table has nothing to flush, and still promises that its old rights are gone."""
    k = Kernel(pages=8)
    k.run(0, "munmap", 4, 4)
    names = k.run(0, "mremap", 0, 2, 4)

    assert "flush_tlb_mm_range" not in names
    assert [v[1:] for v in k.journal.visited[-2:]] == [(0, page, R | W | X) for page in (0, 1)]


def test_every_page_of_the_source_is_denied() -> None:
    """Each old page is visited, populated or not, and denies all three kinds; and so does each new one, before."""
    k = kernel_with_hole()
    k.journal.visited.clear()
    k.run(0, "mremap", 0, 3, 4)

    pages = [4, 5, 6, 0, 1, 2]
    assert [visit[1:] for visit in k.journal.visited] == [(0, page, R | W | X) for page in pages]


def test_a_huge_page_moves_as_one() -> None:
    """From one aligned place to another the PMD is moved, and the huge page stays whole."""
    k = Kernel(layout="huge", pages=8)
    value = k.write(0, 3)
    pmd = k.pmd()
    k.run(0, "munmap", 4, 4)
    k.run(0, "mremap", 0, 4, 4)

    assert (k.pmd(), k.pmd(1)) == (0, pmd)
    assert k.read(1, 7) == value
    assert k.read(1, 3) == "MAPERR"


def test_a_part_of_a_huge_page_is_split_off() -> None:
    """A range that is not everything that a PMD maps moves as small pages."""
    k = Kernel(layout="huge", pages=8)
    value = k.write(0, 3)
    k.run(0, "munmap", 4, 4)
    k.run(0, "mremap", 3, 1, 7)

    assert not (k.pmd(0) | k.pmd(1)) & PSE
    assert k.read(1, 7) == value
    assert k.read(1, 3) == "MAPERR"


def test_a_whole_table_moves_by_its_pmd() -> None:
    """The table keeps its entries, and unmapped pages stay unmapped; no TLB has anything of the old place."""
    k = kernel_with_hole()
    table, entries = frame_of(k.pmd()), [k.pte(page) for page in range(4)]
    k.read(1)
    names = k.run(0, "mremap", 0, 4, 4)

    assert (k.pmd(), frame_of(k.pmd(1))) == (0, table)
    assert [k.pte(page) for page in range(4, 8)] == entries
    assert k.journal.freed_tables == []
    assert k.w.machine.tlb == [{}, {}]
    assert not any(k.w.machine.psc)
    assert [k.read(1, page) for page in (0, 4, 5, 6)] == ["MAPERR", 1, 2, 0]
    assert names[names.index("pmd_lock") : names.index("pmd_unlock") + 1] == [
        "pmd_lock",
        "pte_lock",
        "pte_lock",
        "move_normal_pmd or move_huge_pmd",
        "flush before unlock",
        *FLUSH,
        "pte_unlock",
        "pte_unlock",
        "pmd_unlock",
    ]


@pytest.mark.parametrize(("page", "count", "target"), [(0, 3, 4), (1, 4, 0), (0, 4, 2)])
def test_what_is_no_whole_table_moves_by_its_entries(page: int, count: int, target: int) -> None:
    """This holds for too few pages, and for a place that is not aligned; ranges that overlap do not move at all."""
    k = kernel_with_hole()

    assert "move_normal_pmd or move_huge_pmd" not in k.run(0, "mremap", page, count, target)


def test_a_move_of_a_table_waits_for_the_rmap() -> None:
    """An operation that has found a page by the rmap holds the table's lock, and the move begins after it."""
    k = kernel_with_hole()
    k.start(1, "migrate", past="pte_lock")
    k.start(0, "mremap", 0, 4, 4)
    while k.step(0):
        pass
    assert k.next(0) == "pte_lock"
    k.finish(1)
    k.finish(0)

    assert [k.read(0, page) for page in (4, 5)] == [1, 2]


def test_dirty_pages_of_the_file_move_with_their_table() -> None:
    """The rmap finds them at the new place, where writeback cleans them."""
    k = Kernel(layout="file", pages=8)
    k.run(0, "munmap", 4, 4)
    value = k.write(0, 1)
    k.run(0, "mremap", 0, 4, 4)
    k.run(1, "writeback", 1)

    assert k.w.disk[PAGES + 1] == value
    assert not k.pte(5) & DIRTY


def test_a_shared_page_keeps_its_place_in_the_object() -> None:
    """A moved shared page still shows its old offset of the object."""
    k = Kernel(layout="shared", pages=8)
    value = k.write(0, 0)
    k.run(0, "munmap", 4, 4)
    k.run(0, "mremap", 0, 1, 5)
    k.run(0, "dontneed", 5)

    assert k.read(1, 5) == value


def test_pages_without_rights_move_and_are_flushed() -> None:
    """A page under PROT_NONE moves too."""
    k = kernel_with_hole()
    k.run(0, "mprotect", 0, 1, 0)
    k.run(0, "mremap", 0, 1, 4)

    assert k.pte(4) & PROTNONE
    k.run(0, "mprotect", 4, 1, R)
    assert k.read(1, 4) == 1


@pytest.mark.parametrize("layout", ["private", "huge"])
def test_registration_and_mark_do_not_move(layout: str) -> None:
    """The region at the new place is not registered, its entries have no mark, and stores succeed."""
    k = Kernel(layout=layout, pages=8)
    k.run(0, "munmap", 4, 4)
    value = k.write(0, 0)
    k.run(0, "uffd_register", 0, 4)
    k.run(0, "uffd_wp", 0, 4)
    k.run(0, "mremap", 0, 4, 4)

    assert not any(vma & VM_UFFD_WP for vma in k.w.vma[0])
    assert not (k.pmd(1) if layout == "huge" else k.pte(4)) & UFFD_WP
    assert k.read(1, 4) == value
    assert isinstance(k.write(1, 4), int)


def test_the_mark_of_a_swap_entry_does_not_move() -> None:
    """A page that is in swap while it moves is written at its new place without an event."""
    k = kernel_with_hole()
    k.run(0, "uffd_register", 0, 1)
    k.run(0, "uffd_wp", 0, 1)
    k.run(1, "swapout", 0)
    assert k.pte(0) & SWP_UFFD_WP
    k.run(0, "mremap", 0, 1, 4)

    assert k.pte(4)
    assert not k.pte(4) & SWP_UFFD_WP
    assert isinstance(k.write(1, 4), int)


def test_a_table_with_marks_is_moved_by_its_entries() -> None:
    """No page table of a registered region moves whole, because each entry loses its mark."""
    k = kernel_with_hole()
    k.run(0, "uffd_register", 0, 4)

    assert k.run(0, "mremap", 0, 4, 4).count("move_ptes") == 4


def test_holes_keep_their_place() -> None:
    """The regions of the range move one by one; a page at the target of a hole stays."""
    k = Kernel(pages=8)
    for page in range(8):
        k.write(0, page)
    k.run(0, "munmap", 1, 1)
    k.run(0, "mremap", 0, 3, 4)

    assert [k.read(1, page) for page in range(8)] == [
        *["MAPERR"] * 3,
        4,
        1,
        6,
        3,
        8,
    ]


@pytest.mark.parametrize(("registered", "moved"), [(0, 0), (1, 1), (2, 2)])
def test_a_registered_region_ends_a_move_of_several(registered: int, moved: int) -> None:
    """As the first of several it moves nothing, and as a later one it stays with all after it (EFAULT)."""
    k = Kernel(pages=8)
    for page in range(3):
        k.write(0, page)
    k.run(0, "munmap", 4, 4)
    k.run(0, "mprotect", 1, 1, R)
    k.run(0, "uffd_register", registered, 1)
    k.run(0, "mremap", 0, 3, 4)

    assert [k.read(1, page) for page in range(4, 7)] == [1, 2, 3][:moved] + ["MAPERR"] * (3 - moved)
    assert [k.read(1, page) for page in range(3)] == ["MAPERR"] * moved + [1, 2, 3][moved:]


def test_a_migration_entry_moves_and_is_found() -> None:
    """A page that migrates while it moves is mapped at its new address with the new frame."""
    k = kernel_with_hole()
    old = k.frame(0)
    k.start(1, "migrate", 0, until="remove_migration_ptes")
    k.run(0, "mremap", 0, 1, 4)
    k.finish(1)

    assert k.pte(0) == 0
    assert k.frame(4) != old
    assert k.read(0, 4) == 1


def test_a_range_over_two_tables_moves_in_pieces() -> None:
    """Pages are moved in extents that lie in one old and one new table."""
    k = Kernel(pages=8)
    k.run(0, "munmap", 5, 3)
    for page in (3, 4):
        k.write(0, page)
    names = k.run(0, "mremap", 3, 2, 6)

    assert names.count("move_page_tables") == 2
    assert [k.read(1, page) for page in (6, 7)] == [1, 2]
