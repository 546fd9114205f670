"""clear_refs: every entry write-protected and unmarked, one flush, and the next store to each page is seen."""

import pytest

from shootdown.machine.entry import DIRTY, MIGRATION_WRITE, PRESENT, RW, SOFT_DIRTY, SWP_SOFT_DIRTY
from shootdown.mm.state import FLUSHES, VM_SOFTDIRTY
from shootdown.mm.tables import is_migration, leaf_of, pte_of, set_pte
from shootdown.run.oracle import Violation
from tests.kernel import FLUSH, Kernel, R, W, prot, written


def test_the_order_of_steps() -> None:
    """mmap_lock for writing, the pending count, the entries under the PTL, one flush, and only then the end."""
    k = written()
    k.read(1, 1)

    assert k.run(0, "clear_refs") == [
        "mmap_write_lock, clear_refs_write",
        "tlb_gather_mmu",
        "clear_refs_pte_range",
        "pte_lock",
        *["clear_soft_dirty"] * 4,
        "pte_unlock",
        "clear_refs_pte_range",
        "flush_tlb_mm",
        "flush before return",
        *FLUSH,
        "tlb_finish_mmu",
        "dec_tlb_flush_pending",
        "mmap_write_unlock, return",
    ]


@pytest.mark.parametrize("layout", ["private", "shared", "huge"])
def test_the_next_store_faults_and_leaves_a_mark(layout: str) -> None:
    """The entry keeps the frame, its dirty bit and the content; RW and the mark are cleared, and a store sets them
    again.
    """
    k = Kernel(layout=layout)
    value = k.write(0)
    k.read(1)
    before = leaf_of(k.w, 0, 0)
    k.run(1, "clear_refs")
    assert leaf_of(k.w, 0, 0) == before & ~(RW | SOFT_DIRTY)
    assert leaf_of(k.w, 0, 0) & DIRTY
    assert k.read(0) == value

    k.start(0, "write")
    assert "page fault" in k.finish(0)
    assert leaf_of(k.w, 0, 0) & (RW | SOFT_DIRTY) == RW | SOFT_DIRTY


def test_a_clean_page_of_shared_memory_is_not_born_writable() -> None:
    """If tracking waits for the first store, a load maps the page without RW (vma_wants_writenotify)."""
    k = Kernel(layout="shared")
    k.run(0, "clear_refs")
    k.read(0)
    assert not pte_of(k.w, 0, 0) & RW

    k.write(0)
    assert pte_of(k.w, 0, 0) & SOFT_DIRTY


def test_a_region_that_is_newer_counts_as_written() -> None:
    """Mmap after clear_refs: no store needs a mark, until the next clear_refs."""
    k = Kernel()
    k.run(0, "munmap")
    k.run(0, "clear_refs")
    k.run(0, "mmap", 0, 1, prot(R | W))
    assert k.w.vma[0][0] & VM_SOFTDIRTY
    k.run(0, "clear_refs")

    assert not any(vma & VM_SOFTDIRTY for vma in k.w.vma[0])


def test_mprotect_leaves_the_first_store_to_the_handler() -> None:
    """An exclusive page gets RW back from mprotect only after the store that leaves the mark (76aefad628aa)."""
    k = written()
    k.run(0, "clear_refs")
    k.run(0, "mprotect", 0, 1, R)
    k.run(0, "mprotect", 0, 1, R | W)
    assert not pte_of(k.w, 0, 0) & RW
    k.write(0)
    k.run(0, "mprotect", 0, 1, R)
    k.run(0, "mprotect", 0, 1, R | W)

    assert pte_of(k.w, 0, 0) & RW


def test_a_migration_entry_loses_both() -> None:
    """The copy is mapped read-only and without the mark, so its first store is seen as well."""
    k = written()
    k.start(1, "migrate", until="folio_migrate_copy")
    assert is_migration(pte_of(k.w, 0, 0))
    k.start(0, "clear_refs", until="flush_tlb_mm")
    assert not pte_of(k.w, 0, 0) & (MIGRATION_WRITE | SWP_SOFT_DIRTY)
    k.finish(0)
    k.finish(1)
    pte = pte_of(k.w, 0, 0)

    assert pte & PRESENT
    assert not pte & (RW | SOFT_DIRTY)
    assert k.write(0)


def test_a_store_without_a_mark_is_a_violation() -> None:
    """It is one after clear_refs, through an entry that is writable and unmarked; before it, and in its window, it is
    not.
    """
    k = written()
    unmarked = pte_of(k.w, 0, 0) & ~SOFT_DIRTY
    set_pte(k.w, 0, 0, 0, unmarked)
    assert k.write(0)
    k.start(1, "clear_refs", until="mmap_write_unlock, return")
    set_pte(k.w, 0, 0, 0, unmarked)
    assert k.write(0)
    k.finish(1)

    with pytest.raises(Violation, match="write-untracked"):
        k.write(0)


def test_an_address_space_without_memory_is_flushed_all_the_same() -> None:
    """The flush does not depend on what was found."""
    k = Kernel(layout="empty")
    k.run(0, "clear_refs")

    assert k.w.costs[FLUSHES] == 1
