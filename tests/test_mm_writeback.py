"""The file: page_mkwrite and page_mkclean, what is written and when, and the rules about stores that come too late."""

import pytest

from shootdown.machine.entry import DIRTY, PRESENT, RW, UFFD_WP
from shootdown.machine.geometry import PAGES
from shootdown.mm.mmap import FILE
from shootdown.mm.page_cache import mapped_at, to_be_written
from shootdown.mm.state import VM_UFFD_WP
from shootdown.mm.tables import pte_of, set_pte
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import Outcome, execute
from shootdown.run.oracle import Violation
from shootdown.scenario import Header, Scenario, kinds
from tests.kernel import FLUSH, Kernel, R, W, prot, written

WRITEBACK = "writeback"


def dirty(k: Kernel, page: int = 0) -> bool:
    """Return whether the folio that the page maps is marked dirty."""
    return bool(k.w.dirty >> k.frame(page) & 1)


def test_a_load_maps_the_file_without_rw_and_a_store_makes_it_dirty() -> None:
    """page_mkwrite: every store to a clean folio faults, in a region that allows it."""
    k = Kernel(layout="file")
    assert k.read(0) == 0
    assert k.pte() & (PRESENT | RW | DIRTY) == PRESENT
    assert not dirty(k)

    k.start(0, "write")
    assert "page fault" in k.finish(0)
    assert k.pte() & (RW | DIRTY) == RW | DIRTY
    assert dirty(k)


def test_the_order_of_writeback() -> None:
    """Clear the entry, flush, write-protect it; then mark the folio clean, and then write it."""
    k = written(layout="file")
    assert k.run(1, WRITEBACK) == [
        "write_cache_pages",
        "page_mkclean",
        "pte_lock",
        "ptep_clear_flush",
        "flush before install",
        *FLUSH,
        "set_pte_at",
        "pte_unlock",
        "page_mkclean",
        "folio_clear_dirty_for_io",
        "submit_bio",
        "return",
    ]


def test_writeback_cleans_and_the_next_store_faults() -> None:
    """The content reaches the backing store, every entry is clean, and the next store is seen."""
    k = Kernel(layout="file")
    value = k.write(0)
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    k.write(1)
    newest = k.read(0)
    assert newest != value
    k.run(0, WRITEBACK)

    assert k.w.disk == {PAGES: newest}
    assert not dirty(k)
    assert not (k.pte(0) | k.pte(0, 1)) & (RW | DIRTY)
    k.write(0)
    assert dirty(k)
    assert not k.pte(0, 1) & DIRTY


@pytest.mark.parametrize("access", ["read", ""])
def test_a_clean_page_is_not_written(access: str) -> None:
    """Without a store there is nothing to do, with the page in memory or not."""
    k = Kernel(layout="file")
    if access:
        k.access(0, access)
    assert k.run(1, WRITEBACK) == ["write_cache_pages", "return"]


def test_anonymous_memory_is_never_written_back() -> None:
    """This holds for shared and for private memory."""
    for layout in ("private", "shared", "huge"):
        k = written(layout=layout)
        assert k.run(1, WRITEBACK) == ["write_cache_pages", "return"]
        assert not k.w.disk


def test_a_store_in_the_window_is_written_with_the_rest() -> None:
    """Between the clearing of the entry and the flush a store through an old entry is part of what is written."""
    k = written(layout="file")
    k.start(1, WRITEBACK, until="flush before install")
    value = k.write(0)
    k.finish(1)
    assert k.w.disk == {PAGES: value}


def test_a_write_fault_waits_for_the_folio() -> None:
    """page_mkwrite takes the folio's lock, so the page does not become dirty while it is marked clean."""
    k = written(layout="file")
    k.start(1, WRITEBACK, until="folio_clear_dirty_for_io")
    k.start(0, "write", until="folio_lock")
    k.waits(0, until_end_of=1)
    assert dirty(k)
    assert k.w.disk == {PAGES: 1}


def test_a_first_touch_waits_for_the_folio() -> None:
    """A fault that finds nothing mapped waits too."""
    k = written(layout="file")
    k.run(0, "dontneed")
    k.start(1, WRITEBACK, until="submit_bio")
    k.start(0, "write", until="do_anonymous_page")
    k.waits(0, until_end_of=1)
    assert dirty(k)


@pytest.mark.parametrize("holder", ["dontneed", "munmap", "mprotect", "mremap"])
def test_mkclean_waits_for_the_ptl(holder: str) -> None:
    """The holder of the PTL may have the entry out of the table, so no page counts as unmapped while the
    PTL is held.
    """
    k = written(layout="file")
    if holder == "mremap":
        k.run(0, "munmap", 1)
    k.start(0, holder, arg={"mprotect": R, "mremap": 1}.get(holder, 0))
    while k.w.ptl[0] != 0:
        k.step(0)
    k.start(1, WRITEBACK, until="page_mkclean")
    k.waits(1, until_end_of=0)
    assert k.w.disk == {PAGES: 1}
    k.journal.at_rest()


def test_a_zap_flushes_a_dirty_entry_inside_the_ptl() -> None:
    """It drops the rmap after the flush; a clean entry waits for the gather's end."""
    k = written(layout="file")
    k.read(0, 1)
    frame = k.frame(0)
    k.start(0, "dontneed", 0, 2, until="flush_tlb_mm_range")
    assert k.w.ptl[0] == 0
    assert mapped_at(k.w, frame) == [0]
    k.until(0, "tlb_finish_mmu")
    assert not k.cached(0, 0)
    assert k.cached(0, 1)
    assert mapped_at(k.w, frame) == []
    k.finish(0)
    assert to_be_written(k.w, frame)


def test_migration_takes_the_mark_along() -> None:
    """The new frame is the file's, dirty as the old one was, and the reverse map finds it."""
    k = Kernel(layout="file")
    value = k.write(0)
    old = k.frame(0)
    k.run(1, "migrate")
    new = k.frame(0)
    assert new != old
    assert dirty(k)
    assert k.w.file_frames == 1 << new
    assert mapped_at(k.w, new) == [0]
    k.run(1, WRITEBACK)
    assert k.w.disk == {PAGES: value}


def test_the_reverse_map_follows_mremap() -> None:
    """The folio is found at the new address."""
    k = Kernel(layout="empty")
    k.run(0, "mmap", 0, 1, prot(R | W, FILE))
    k.write(0)
    k.run(0, "mremap", 0, 1, 1)
    assert mapped_at(k.w, k.frame(1)) == [1]
    k.run(1, WRITEBACK)
    assert not pte_of(k.w, 0, 1) & (RW | DIRTY)


def test_a_file_is_mapped_twice() -> None:
    """Unmapped and mapped again at the same place it has the content that was stored, from the page cache."""
    k = Kernel(layout="file")
    value = k.write(0)
    k.run(0, "munmap")
    k.run(0, "mmap", 0, 1, prot(R, FILE))
    assert k.read(1) == value


def test_userfaultfd_refuses_the_file() -> None:
    """vma_can_userfault: write-protection marks exist for anonymous memory only."""
    k = Kernel(layout="file")
    k.run(0, "uffd_register")
    assert not k.w.vma[0][0] & VM_UFFD_WP
    k.run(0, "uffd_wp")
    assert not k.pte() & UFFD_WP


# The oracle.


def test_a_store_behind_the_writeback_must_make_the_folio_dirty() -> None:
    """C5 is broken at the store, through an entry that writeback has missed."""
    k = written(layout="file")
    entry = k.pte()
    k.run(1, WRITEBACK)
    set_pte(k.w, 0, 0, 0, entry & ~DIRTY)
    k.w.machine.fill(0, 0)
    set_pte(k.w, 0, 0, 0, entry & ~(DIRTY | RW))
    with pytest.raises(Violation, match="store-not-written-back"):
        k.journal.access(0, 0, 2, k.w.machine.generation[k.frame(0)] << 6 | k.frame(0), 77)


def test_at_rest_the_file_and_its_backing_store_agree_or_it_is_dirty() -> None:
    """C5 is broken at the end of a run: nothing else will ever write the page."""
    k = written(layout="file")
    k.journal.at_rest()
    k.w.dirty = 0
    k.journal.at_rest()
    set_pte(k.w, 0, 0, 0, k.pte() & ~DIRTY)
    with pytest.raises(Violation, match="store-not-written-back"):
        k.journal.at_rest()
    k.w.disk[PAGES] = k.w.machine.memory[k.frame(0) << 2]
    k.w.machine.toggle_pge(0)
    k.journal.at_rest()


@pytest.mark.parametrize(
    "fault", ["zap-unlock-before-flush", "rmap-before-flush", "move-before-mkclean"]
)
def test_without_writeback_the_faults_lose_nothing(fault: str) -> None:
    """A dirty page stays dirty if no operation treats it as clean, whenever it is flushed."""
    records = (
        (kinds.WRITE, 1, 0, 0, 1, 0),
        (kinds.DONTNEED, 0, kinds.FIRST_POINT + kinds.POINTS.index("flush"), 0, 1, 0),
        (kinds.WRITE, 1, 0, 0, 1, 0),
    )
    outcome: Outcome = execute(
        Scenario(Header(2, 1, kinds.FILE, 0, 1, 1), records), REGISTRY[fault].make()
    )
    assert outcome.verdict == "legal"
