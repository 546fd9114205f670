"""The NUMA scan and the hint fault: PROTNONE and back, which pages the scan skips, and which operations meet a hinted
page.
"""

import pytest

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    PRESENT,
    PROTNONE,
    PSE,
    RW,
    SOFT_DIRTY,
    UFFD_WP,
    USER,
)
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.numa_scan import MOVE, STAY
from shootdown.mm.state import SPURIOUS
from shootdown.mm.tables import is_migration
from tests.kernel import Kernel, R, W, X, written

ALL = 4


def hinted(layout: str = "private", where: int = STAY, policy: str = "linux") -> Kernel:
    """Return a kernel whose CPU 0 has stored to pages 0 to 3 and scanned them: the value of page i is i + 1."""
    k = Kernel(policy, cpus=3, layout=layout)
    for page in range(ALL):
        k.write(0, page)
    k.run(0, "numa_scan", 0, ALL, where)
    return k


def is_hint(entry: int) -> bool:
    """Return whether the hardware finds an entry not present that the kernel finds present."""
    return entry & (PRESENT | PROTNONE) == PROTNONE


def test_an_entry_becomes_protnone_and_keeps_what_it_was() -> None:
    """PRESENT, USER and NX go; the frame, RW, D, A and the marks stay."""
    k = written()
    before = k.pte()
    k.run(0, "numa_scan")

    kept = RW | DIRTY | ACCESSED | SOFT_DIRTY
    assert is_hint(k.pte())
    assert frame_of(k.pte()) == frame_of(before)
    assert k.pte() & (kept | USER) == before & kept == kept


@pytest.mark.parametrize("layout", ["private", "shared", "huge"])
def test_a_hint_fault_gives_everything_back(layout: str) -> None:
    """After one fault the entry is what it was, and the content still exists, for every kind of access."""
    k = hinted(layout)
    before = [k.pmd()] if layout == "huge" else [k.pte(page) for page in range(ALL)]
    assert all(map(is_hint, before))

    assert [k.read(1, page) for page in range(ALL)] == [1, 2, 3, 4]
    after = [k.pmd()] if layout == "huge" else [k.pte(page) for page in range(ALL)]
    assert all(entry & (PRESENT | USER | RW) == PRESENT | USER | RW for entry in after)
    assert list(map(frame_of, after)) == list(map(frame_of, before))
    assert k.w.costs[SPURIOUS] == 0


def test_the_fault_flushes_nothing() -> None:
    """The old entry was not PRESENT, so no TLB needs a flush."""
    k = hinted()
    names = k.run(1, "read")

    assert "do_numa_page" in names
    assert "flush_tlb_mm_range" not in names
    assert k.journal.skipped_changes == []


def test_the_scan_flushes_once_at_its_end_and_denies_nothing() -> None:
    """The pages are recorded in one gather, which is flushed after the last PTL; no visit denies anything."""
    k = Kernel()
    for page in range(ALL):
        k.write(0, page)
    visits = len(k.journal.visited)
    names = k.run(0, "numa_scan", 0, ALL)

    assert names.count("flush_tlb_mm_range") == 1
    assert names.index("flush_tlb_mm_range") > names.index("tlb_finish_mmu")
    assert [visit[3] for visit in k.journal.visited[visits:]] == [0] * ALL
    assert not any(k.cached(0, page) for page in range(ALL))


def test_a_second_scan_changes_nothing() -> None:
    """A page that is PROTNONE already is skipped, small or huge, and there is nothing to flush."""
    for layout in ("private", "huge"):
        k = hinted(layout)
        key = k.w.key()

        assert "flush_tlb_mm_range" not in k.run(0, "numa_scan", 0, ALL)
        assert k.w.key() == key


def test_the_zero_page_and_holes_are_left_alone() -> None:
    """The zero page takes no hint, and a page that was never touched has no entry."""
    k = Kernel()
    k.read(0)
    before = k.pte()
    k.run(0, "numa_scan", 0, 2)

    assert (k.pte(), k.pte(1)) == (before, 0)


def test_a_page_that_fork_shares_is_left_alone() -> None:
    """A private page with two owners takes no hint; with one owner again it does."""
    k = written()
    k.run(0, "fork")
    k.run(0, "numa_scan")
    assert not is_hint(k.pte())
    k.write(0)
    k.run(0, "numa_scan")

    assert is_hint(k.pte())


@pytest.mark.parametrize("rights", [0, R, W, X, R | W, R | X])
@pytest.mark.parametrize("kind", ["private", "shared"])
def test_which_regions_are_scanned(rights: int, kind: str) -> None:
    """Inaccessible regions are not scanned, and neither are those of files and shared memory that can only be read."""
    k = written(layout=kind)
    k.run(0, "mprotect", arg=rights)
    before = k.pte()
    k.run(0, "numa_scan")
    skipped = rights == 0 or (kind == "shared" and rights & (R | W) == R)

    assert (k.pte() == before) == skipped
    assert skipped or is_hint(k.pte())


def test_a_dirty_folio_is_left_alone() -> None:
    """A page of the file takes no hint before it has been written back."""
    k = written(layout="file")
    k.run(0, "numa_scan")
    assert not is_hint(k.pte())
    k.run(0, "writeback")
    k.run(0, "numa_scan")
    assert is_hint(k.pte())

    assert k.write(1) == 2
    assert k.w.dirty >> k.frame() & 1


def test_part_of_a_huge_page_is_split() -> None:
    """A scan of one page of a huge page splits it; the other pages stay present."""
    k = written(layout="huge")
    k.run(0, "numa_scan", 1)

    assert [is_hint(k.pte(page)) for page in range(ALL)] == [False, True, False, False]


def test_a_split_keeps_the_hints() -> None:
    """MADV_FREE splits a hinted huge page into hinted small ones, and gives the content up all the same."""
    k = hinted("huge")
    k.run(0, "free", 0, 1)

    assert not k.pmd() & PSE
    assert [is_hint(k.pte(page)) for page in range(ALL)] == [True] * ALL
    assert not k.pte() & DIRTY
    assert [k.read(1, page) for page in range(ALL)] == [1, 2, 3, 4]


def test_a_store_to_what_was_read_only_still_breaks_the_copy() -> None:
    """A page without RW comes back without RW: the child's and the parent's store are their own."""
    k = hinted()
    k.run(0, "fork")
    assert is_hint(k.pte())
    assert is_hint(k.pte(mm=1))
    k.run(1, "switch", arg=1)

    assert k.write(0) == 5
    assert k.read(1) == 1
    assert k.write(1) == 6
    assert k.read(0) == 5


def test_mprotect_takes_the_hint_back() -> None:
    """A hinted entry gets the rights of the region, and mprotect needs no flush: that of the scan was complete."""
    k = hinted()
    names = k.run(1, "mprotect", arg=R)

    assert "flush_tlb_mm_range" not in names
    assert k.pte() & (PRESENT | RW) == PRESENT
    assert k.write(0) == "ACCERR"


def test_a_mark_of_userfaultfd_survives_the_hint() -> None:
    """A protected page that is hinted comes back protected, and its store is reported."""
    k = Kernel()
    k.run(0, "uffd_register")
    k.write(0)
    k.run(0, "uffd_wp")
    k.run(0, "numa_scan")
    k.read(1)
    assert k.pte() & (PRESENT | RW | UFFD_WP) == PRESENT | UFFD_WP
    k.write(1)

    assert k.shown() == "userfaultfd"
    assert not k.pte() & RW


def test_clear_refs_behind_a_scan_is_seen() -> None:
    """clear_refs takes RW and the mark out of a hinted entry, so the next store sets the mark again."""
    k = hinted()
    k.run(0, "clear_refs")
    assert not k.pte() & (RW | SOFT_DIRTY)
    k.write(1)

    assert k.pte() & (PRESENT | RW | SOFT_DIRTY) == PRESENT | RW | SOFT_DIRTY


def test_a_hinted_page_is_aged_reclaimed_and_moved() -> None:
    """Aging, MADV_FREE, reclaim and mremap treat a PROTNONE entry as a mapped page."""
    k = hinted()
    k.run(1, "age", 3)
    assert not k.pte(3) & ACCESSED
    k.run(0, "free", 0)
    k.run(1, "reclaim", 0)
    assert k.pte() == 0
    k.run(0, "dontneed", 2)
    k.run(0, "mremap", 1, arg=2)

    assert is_hint(k.pte(2))
    assert [k.read(0, page) for page in (0, 2, 3)] == [0, 2, 4]


def test_a_lazily_freed_page_that_is_dirty_again_is_kept() -> None:
    """A store before the scan leaves D in the PROTNONE entry, and reclaim checks it."""
    k = written()
    k.run(0, "free")
    k.write(0)
    k.run(0, "numa_scan")
    k.run(1, "reclaim")

    assert k.read(1) == 2


def test_khugepaged_collapses_hinted_pages() -> None:
    """A collapse copies PROTNONE pages like any other; the huge page is present."""
    k = written(layout="huge", pages=4)
    k.run(0, "dontneed", 1)
    k.run(0, "numa_scan", 0, ALL)
    k.run(1, "collapse")

    assert k.pmd() & (PRESENT | PSE) == PRESENT | PSE
    assert [k.read(0, page) for page in range(FANOUT)] == [1, 0, 0, 0]


def test_two_cpus_fault_on_one_hint() -> None:
    """The second one finds the entry changed under the PTL, and goes back to its access."""
    k = hinted()
    for cpu in (1, 2):
        k.start(cpu, "read", until="pte_lock")
    k.finish(1)
    names = k.finish(2)

    assert "do_numa_page" not in names
    assert k.read(2) == 1


def test_the_scan_waits_for_mprotect() -> None:
    """The scan holds mmap_lock for reading: it overlaps with a page fault, never with mprotect."""
    k = written()
    k.start(0, "mprotect", arg=R, past="mmap_write_lock, mprotect_fixup")
    k.start(1, "numa_scan")

    assert not k.step(1)


def test_a_migration_entry_loses_the_right_to_write() -> None:
    """A scan that meets a migration entry leaves it in place, read-only (make_readable_migration_entry)."""
    k = written()
    k.start(1, "migrate", until="folio_migrate_copy")
    k.run(0, "numa_scan")
    assert is_migration(k.pte())
    k.finish(1)

    assert k.pte() & (PRESENT | RW) == PRESENT
    assert k.write(0) == 2


@pytest.mark.parametrize("where", [STAY, MOVE])
def test_a_scan_says_which_pages_are_misplaced(where: int) -> None:
    """MOVE marks the frames of the range, STAY clears the marks; a freed frame has none."""
    k = written()
    k.write(0, 1)
    k.run(0, "numa_scan", 0, 1, MOVE)
    k.run(0, "numa_scan", 0, 1, where)

    assert k.w.misplaced == where << k.frame()
    k.run(0, "munmap")
    assert k.w.misplaced == 0
