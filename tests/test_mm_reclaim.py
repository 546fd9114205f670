"""Reclaim of lazily freed pages: dropped when clean, kept when written again."""

from shootdown.machine.entry import DIRTY
from shootdown.machine.x86 import POISON_FREE
from tests.kernel import BATCHED_FLUSH, Kernel, written


def lazily_free(cpus: int = 2) -> Kernel:
    """Return a kernel whose page 0 was stored to, value 1, and freed lazily."""
    k = written(cpus=cpus)
    k.run(0, "free")
    return k


def test_the_order_of_steps() -> None:
    """Clear under the PTL, unlock, flush, and only then free."""
    k = lazily_free()
    k.read(0)
    k.read(1)

    assert k.run(0, "reclaim") == [
        "shrink_folio_list",
        "pte_lock",
        "try_to_unmap_one",
        "pte_unlock",
        "flush before free",
        *BATCHED_FLUSH,
        "free_unref_folios",
        "return",
    ]


def test_a_clean_page_is_dropped() -> None:
    """The frame is freed, the mark is removed with it, and the next access finds zeros."""
    k = lazily_free()
    frame = k.frame()
    k.run(1, "reclaim")

    assert k.pte() == 0
    assert k.journal.discarded_frames == k.journal.freed_frames == [frame]
    assert k.w.machine.read_entry(frame, 0) == POISON_FREE
    assert k.w.lazy_free == 0
    assert k.read(0) == 0


def test_a_page_that_was_written_again_is_kept() -> None:
    """DIRTY was set since MADV_FREE: the page stays with its content and is no longer lazily free."""
    k = lazily_free()
    value = k.write(0)
    k.run(1, "reclaim")

    assert k.read(1) == value
    assert k.w.lazy_free == 0
    assert k.w.page_lock == 0
    assert k.w.ptl == [-1] * 6


def test_a_page_that_nobody_gave_up_is_kept() -> None:
    """Reclaim skips a page that MADV_FREE did not mark."""
    k = written()

    assert k.run(1, "reclaim") == ["shrink_folio_list", "return"]


def test_a_page_that_got_a_second_owner_is_kept() -> None:
    """A page that fork shares since MADV_FREE stays in both spaces."""
    k = lazily_free()
    k.run(0, "fork")
    k.run(1, "reclaim")

    assert k.pte()
    assert k.w.refs[k.frame()] == 2


def test_a_store_through_a_clean_entry_traps() -> None:
    """A CPU that has the page cached clean cannot store to it once the entry is gone: the store finds a new page."""
    k = lazily_free()
    k.read(1)
    frame = k.frame()
    k.start(0, "reclaim", until="arch_tlbbatch_flush")
    assert k.cached(1)
    value = k.write(1)
    k.finish(0)

    assert k.frame() != frame
    assert k.read(0) == value
    assert k.pte() & DIRTY


def test_a_load_in_the_window_sees_the_old_content() -> None:
    """Until the flush a clean cached entry still shows the old frame."""
    k = lazily_free()
    k.read(1)
    k.start(0, "reclaim", until="arch_tlbbatch_flush")

    assert k.read(1) == 1


def test_mprotect_flushes_what_reclaim_put_off() -> None:
    """A protection change that finds the entry gone does not assume that it was flushed (3ea277194daa)."""
    k = lazily_free(cpus=3)
    k.read(2)
    k.start(0, "reclaim", until="arch_tlbbatch_flush")
    names = k.run(1, "mprotect", 0, 1, 0)

    assert "flush_tlb_mm_range" in names
    assert not k.cached(2)
    assert k.read(2) == "ACCERR"


def test_reclaim_and_migration_exclude_each_other() -> None:
    """They use the same page lock."""
    k = lazily_free()
    k.start(0, "migrate", until="try_to_migrate")

    assert k.run(1, "reclaim") == ["shrink_folio_list", "return"]


def test_the_mark_follows_a_migrated_page() -> None:
    """A lazily freed page that migrates can still be reclaimed."""
    k = lazily_free()
    k.run(1, "migrate")
    k.run(1, "reclaim")

    assert k.pte() == 0
    assert k.w.lazy_free == 0
