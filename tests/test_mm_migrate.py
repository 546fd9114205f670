"""Migration: unmap everywhere, flush, copy, map the copy; map the old frame again if it has another reference."""

import pytest

from shootdown.machine.entry import (
    DIRTY,
    MIGRATION,
    MIGRATION_DIRTY,
    MIGRATION_WRITE,
    PRESENT,
    RW,
    SOFT_DIRTY,
)
from shootdown.machine.geometry import FRAME_BITS, frame_of
from shootdown.machine.x86 import POISON_FREE
from shootdown.mm.rmap import find_mapping
from shootdown.mm.tables import is_migration
from tests.kernel import BATCHED_FLUSH, Kernel, R, cached_twice, written


def test_the_order_of_steps() -> None:
    """Entry by entry under its PTL, then the flush, the copy, the new entries, and the old frame last."""
    k = cached_twice()

    assert k.run(0, "migrate") == [
        "folio_isolate_lru",
        "try_to_migrate",
        "pte_lock",
        "try_to_migrate_one",
        "pte_unlock",
        "try_to_migrate",
        "flush before copy",
        *BATCHED_FLUSH,
        "folio_migrate_copy",
        "remove_migration_ptes",
        "pte_lock",
        "remove_migration_pte",
        "pte_unlock",
        "remove_migration_ptes",
        "flush before free",
        "migrate_folio_done",
        "return",
    ]


def test_the_page_has_a_new_frame_with_its_content() -> None:
    """The old frame is freed and poisoned, the new one has content, rights and DIRTY, and one reference."""
    k = Kernel()
    value = k.write(0)
    old = k.frame()
    k.run(1, "migrate")

    assert k.frame() != old
    assert k.pte() & (RW | DIRTY) == RW | DIRTY
    assert k.w.refs[k.frame()] == 1
    assert k.journal.freed_frames == [old]
    assert k.w.machine.read_entry(old, 0) == POISON_FREE
    assert k.read(0) == k.read(1) == value


def test_a_migration_entry_remembers_the_page() -> None:
    """While a page migrates, its entry is not present, names the old frame and has the marks of RW and DIRTY."""
    k = written()
    frame = k.frame()
    k.start(1, "migrate", past="try_to_migrate_one")

    assert is_migration(k.pte())
    assert k.pte() & (MIGRATION | MIGRATION_WRITE | MIGRATION_DIRTY | PRESENT) == (
        MIGRATION | MIGRATION_WRITE | MIGRATION_DIRTY
    )
    assert k.frame() == frame


def test_a_store_in_the_window_is_in_the_copy() -> None:
    """Until the flush an old entry takes stores, and they arrive in the new frame."""
    k = written()
    k.start(1, "migrate", until="arch_tlbbatch_flush")
    value = k.write(0)
    k.finish(1)

    assert k.read(0) == k.read(1) == value


def test_nobody_can_use_the_old_frame_during_the_copy() -> None:
    """When the copy begins, no CPU has the page cached."""
    k = Kernel(cpus=3)
    for cpu in range(3):
        k.write(cpu)
    k.start(1, "migrate", until="folio_migrate_copy")

    assert not any(k.cached(cpu) for cpu in range(3))


def test_a_fault_waits_for_the_migration() -> None:
    """An access during the copy waits until the entry is present again, under no lock but mmap_lock."""
    k = written()
    k.start(1, "migrate", until="folio_migrate_copy")
    k.start(0, "write", until="migration_entry_wait")
    assert not k.step(0)
    k.past(1, "remove_migration_pte")

    assert k.step(0)
    assert isinstance((k.finish(0), k.shown())[1], int)


def test_every_mapping_is_found() -> None:
    """A page of parent and child is unmapped in both, copied once, and mapped again in both, read-only."""
    k = Kernel()
    value = k.write(0)
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    names = k.run(1, "migrate")

    assert names.count("try_to_migrate_one") == names.count("remove_migration_pte") == 2
    assert k.frame() == frame_of(k.pte(mm=1))
    assert k.w.refs[k.frame()] == 2
    assert not (k.pte() | k.pte(mm=1)) & RW
    assert k.read(0) == k.read(1) == value


def test_a_pinned_page_stays() -> None:
    """A frame that a copy-on-write break holds is mapped again where it was (EAGAIN), with its rights."""
    k = written()
    k.run(0, "fork")
    old = k.frame()
    k.start(0, "write", until="cow_user_page")
    names = k.run(1, "migrate")

    assert k.frame() == frame_of(k.pte(mm=1)) == old
    assert "remove_migration_pte" in names
    k.finish(0)
    assert k.frame() != old
    assert k.read(1) == k.shown()


def test_a_frame_in_a_gathers_batch_stays() -> None:
    """A page that munmap has cleared in one space and not yet freed is not migrated in another."""
    k = written(cpus=3)
    k.run(0, "fork")
    old = k.frame()
    k.start(0, "dontneed", until="tlb_finish_mmu")
    k.run(1, "migrate", 0, 1, 1)

    assert frame_of(k.pte(mm=1)) == old
    k.finish(0)
    assert k.w.refs[old] == 1


def test_a_shared_page_takes_the_object_along() -> None:
    """The page cache names the new frame, and pages that are populated later find it."""
    k = Kernel(layout="shared")
    value = k.write(0)
    k.run(1, "migrate")
    assert k.w.shared[0] == k.frame()
    assert k.w.refs[k.frame()] == 2
    k.run(0, "dontneed")

    assert k.read(0) == value


@pytest.mark.parametrize("populate", ["", "read"])
def test_there_may_be_nothing_to_migrate(populate: str) -> None:
    """A page that is not populated, or is the zero page, stays as it is."""
    k = Kernel()
    if populate:
        k.run(0, populate)
    before = k.pte()

    assert k.run(1, "migrate") == ["folio_isolate_lru", "return"]
    assert k.pte() == before


def test_the_rmap_does_not_take_data_for_entries() -> None:
    """A word of a huge page that looks like an entry is not found as a mapping."""
    k = written(layout="huge")
    k.w.machine.write_entry(frame_of(k.pmd()), 0, FRAME_BITS[9] | PRESENT)

    assert find_mapping(k.w, 9, migration=False) is None


def test_a_huge_page_stays() -> None:
    """Migration passes over a huge page."""
    k = written(layout="huge")

    assert k.run(1, "migrate") == ["folio_isolate_lru", "return"]


def test_an_address_space_that_is_not_there_has_no_pages() -> None:
    """Migration in a space that fork has not made is without effect."""
    k = Kernel()

    assert k.run(1, "migrate", 0, 1, 2) == ["folio_isolate_lru", "return"]


def test_an_entry_that_changed_in_front_of_the_lock_is_left_alone() -> None:
    """Between finding an entry and taking its PTL the page may be dropped: it is neither unmapped nor mapped again."""
    for name in ("try_to_migrate", "remove_migration_ptes"):
        k = written()
        k.start(1, "migrate", past=name)
        k.run(0, "dontneed")
        k.run(0, "write")
        k.finish(1)

        assert k.read(1) == 2
        assert k.w.refs[k.frame()] == 1


def test_different_pages_migrate_at_once() -> None:
    """There is one page lock for each frame."""
    k = Kernel()
    values = [k.write(0, page) for page in (0, 1)]
    for cpu in (0, 1):
        k.start(cpu, "migrate", cpu, until="folio_migrate_copy")
    k.finish(0)
    k.finish(1)

    assert [k.read(0, page) for page in (0, 1)] == values
    assert len(k.journal.freed_frames) == 2


def test_one_migration_of_a_page_at_a_time() -> None:
    """While one CPU holds the page lock, another one gives up at once."""
    k = written()
    k.start(0, "migrate", until="try_to_migrate")

    assert k.run(1, "migrate") == ["folio_isolate_lru", "return"]
    k.finish(0)
    assert k.w.page_lock == 0


def test_a_page_under_prot_none_migrates() -> None:
    """A PROTNONE entry is migrated like a present one and has no rights afterwards."""
    k = Kernel()
    value = k.write(0)
    old = k.frame()
    k.run(0, "mprotect", 0, 1, 0)
    k.run(1, "migrate")
    assert k.frame() != old
    assert k.read(0) == "ACCERR"
    k.run(0, "mprotect", 0, 1, R)

    assert k.read(1) == value


def test_a_clean_page_stays_clean() -> None:
    """DIRTY is neither lost nor invented."""
    k = written()
    k.run(0, "free")
    k.run(1, "migrate")

    assert not k.pte() & DIRTY
    assert k.w.lazy_free == 1 << k.frame()


def test_soft_dirty_survives() -> None:
    """A page that was marked soft-dirty is soft-dirty after the migration: tracking is not lost (linux-tlb G.3)."""
    k = written()
    assert k.pte() & SOFT_DIRTY
    k.run(1, "migrate")

    assert k.pte() & SOFT_DIRTY


def test_munmap_during_the_copy_lets_both_frames_go() -> None:
    """A page that is unmapped while it migrates is mapped nowhere, and no frame is left over."""
    k = written()
    free = k.w.free_frames | 1 << k.frame()
    k.start(1, "migrate", until="remove_migration_ptes")
    k.run(0, "munmap")
    k.finish(1)

    assert k.w.free_frames == free
