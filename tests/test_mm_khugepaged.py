"""khugepaged: the order of its steps, what it keeps, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.machine.entry import DIRTY, NX, PRESENT, PROTNONE, PSE, RW, SOFT_DIRTY
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.mmap import HUGE
from shootdown.mm.state import FLUSHES, VM_UFFD_WP
from shootdown.mm.tables import is_migration, page_prot
from tests.collapsing import split, table_of, values
from tests.kernel import FLUSH, Kernel, R, W, X, prot, written

REFUSED = ["mmap_write_lock, hugepage_vma_revalidate", "mmap_write_unlock, return"]
COPIES = ["__collapse_huge_page_copy"] * FANOUT


# The order, and what it keeps.


def test_the_order_of_steps() -> None:
    """Take the table out, flush under the PMD lock, copy page by page, free the small pages, map the huge one, free the
    table.
    """
    k = split()
    k.read(1)

    assert k.run(0, "collapse") == [
        "mmap_write_lock, hugepage_vma_revalidate",
        "pmd_lock",
        "pmdp_collapse_flush",
        *FLUSH,
        "pmd_unlock",
        "tlb_remove_table_sync_one",
        *COPIES,
        "__collapse_huge_page_copy_succeeded",
        "set_pmd_at",
        "pte_free_defer",
        "mmap_write_unlock, return",
    ]


def test_content_is_kept_in_one_new_block() -> None:
    """Four small pages become the four frames of a block, and they and their table are freed once each."""
    k = split()
    table, small = table_of(k), [k.frame(page) for page in range(FANOUT)]
    k.run(0, "collapse", 2)

    assert k.pmd() & (PSE | PRESENT) == PSE | PRESENT
    assert frame_of(k.pmd()) % FANOUT == 0
    assert values(k) == [1, 2, 3, 4]
    assert k.journal.freed_frames == small
    assert k.journal.freed_tables == [table]


@given(st.permutations(range(FANOUT)), st.integers(0, FANOUT - 1), st.integers(0, FANOUT - 1))
def test_what_was_not_there_is_zeros(order: list[int], absent: int, zero: int) -> None:
    """Pages that are absent or map the zero page read as zeros after the collapse, and can be written."""
    k = split()
    for page in order[: min(absent + zero, FANOUT - 1)]:
        k.run(0, "dontneed", page)
    for page in order[:zero]:
        k.read(1, page)
    before = values(k)
    k.run(0, "collapse")

    assert k.pmd() & PSE
    assert values(k) == before
    assert all(k.write(1, page) == k.read(0, page) for page in range(FANOUT))


@pytest.mark.parametrize("rights", range(8))
def test_the_leaf_has_the_rights_of_the_region(rights: int) -> None:
    """Writable where the region is, without a fault, and dirty and soft-dirty in any case."""
    k = Kernel(layout="empty")
    k.run(0, "mmap", 0, 4, prot(R | W | X, HUGE))
    k.write(0)
    k.run(0, "free", 0, 4)
    k.run(0, "mprotect", 0, 4, rights)
    k.run(0, "collapse")
    leaf = k.pmd()

    assert leaf & ~RW & 0xFFF == page_prot(rights) & 0xFFF | PSE | DIRTY | SOFT_DIRTY
    assert bool(leaf & RW) == bool(rights & W)
    assert bool(leaf & NX) == bool(rights and not rights & X)
    assert bool(leaf & PROTNONE) == (rights == 0)


def test_a_lazily_freed_page_is_kept() -> None:
    """After a collapse no page is lazily free, so reclaim has nothing to drop."""
    k = split()
    assert k.w.lazy_free
    k.run(0, "collapse")
    k.run(0, "reclaim")

    assert k.w.lazy_free == 0
    assert values(k) == [1, 2, 3, 4]


def test_the_second_table_is_another_collapse() -> None:
    """Only the table over the page is replaced."""
    k = split(pages=8)
    k.write(0, 5)
    k.run(0, "dontneed", 6)
    upper = k.pmd(0)
    k.run(0, "collapse", 7)

    assert k.pmd(0) == upper
    assert k.pmd(1) & PSE
    assert [k.read(1, page) for page in (1, 5, 6)] == [2, 5, 0]


def test_a_collapsed_page_can_be_split_and_collapsed_again() -> None:
    """A collapse leaves a huge page like any other."""
    k = split()
    for value in range(10, 13):
        k.run(0, "collapse")
        assert k.pmd() & PSE
        k.run(1, "dontneed", 3)
        k.w.stamp = value - 1
        assert k.write(0, 3) == value

    assert values(k) == [1, 2, 3, 12]


# What it refuses.


def _unborn(k: Kernel) -> None:
    k.w.live[0] = False


def _hole(k: Kernel) -> None:
    k.run(0, "munmap", 3)


def _two_rights(k: Kernel) -> None:
    k.run(0, "mprotect", 1, 1, R)


def _registered(k: Kernel) -> None:
    k.run(0, "uffd_register", 0, 4)


def _already_huge(k: Kernel) -> None:
    k.run(0, "collapse")


def _no_table(k: Kernel) -> None:
    k.run(0, "munmap", 0, 4)
    k.run(0, "mmap", 0, 4, prot(R | W, HUGE))


def _nothing_mapped(k: Kernel) -> None:
    for page in range(FANOUT):
        k.run(0, "dontneed", page)


def _zero_pages(k: Kernel) -> None:
    _nothing_mapped(k)
    values(k)


def _shared(k: Kernel) -> None:
    k.run(0, "fork")


def _migrating(k: Kernel) -> None:
    k.start(1, "migrate", 1, until="folio_migrate_copy")
    assert is_migration(k.pte(1))


def _reclaiming(k: Kernel) -> None:
    k.start(1, "reclaim", 1, past="shrink_folio_list")


def _no_block(k: Kernel) -> None:
    k.w.free_frames &= ~0x1111111111111111
    k.w.freed = [frame for frame in k.w.freed if frame % FANOUT]


REFUSALS = {
    "an address space that is not live": _unborn,
    "a page without a region": _hole,
    "regions of different rights": _two_rights,
    "userfaultfd": _registered,
    "a huge page": _already_huge,
    "no table": _no_table,
    "a table that maps nothing": _nothing_mapped,
    "zero pages alone": _zero_pages,
    "pages shared by fork": _shared,
    "a migration entry": _migrating,
    "a locked page": _reclaiming,
    "no free block": _no_block,
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refused_with_no_effect(what: str) -> None:
    """An obstacle ends the collapse before anything has changed: the same world, and no flush."""
    k = split()
    REFUSALS[what](k)
    k.w.op_page[0] = 0
    before, flushes, copies = k.w.key(), k.w.costs[FLUSHES], k.journal.freed_frames.copy()
    names = k.run(0, "collapse")

    assert not {*COPIES, "pte_free_defer"} & {*names}
    assert k.w.key() == before
    assert k.w.costs[FLUSHES] == flushes
    assert k.journal.freed_frames == copies


@pytest.mark.parametrize("layout", ["private", "shared", "readonly", "empty"])
def test_other_regions_are_left_alone(layout: str) -> None:
    """A region that does not allow huge pages is not collapsed; the walk does not begin."""
    k = Kernel(layout=layout)
    values(k)

    assert k.run(0, "collapse") == REFUSED


def test_a_range_that_sticks_out_is_left_alone() -> None:
    """Three pages do not cover 2 MiB."""
    k = written(layout="huge", pages=3)

    assert k.run(0, "collapse") == REFUSED


def test_what_was_refused_succeeds_when_the_hindrance_is_gone() -> None:
    """A page that migrates stops the collapse until the migration is over; registered regions always refuse it."""
    k = split()
    _migrating(k)
    k.run(0, "collapse")
    k.finish(1)
    assert not k.pmd() & PSE
    k.run(0, "collapse")

    assert k.pmd() & PSE
    assert values(k) == [1, 2, 3, 4]
    assert not k.w.vma[0][0] & VM_UFFD_WP
