"""Reclaim of a page of the file: unmapped, flushed, written if it is dirty, and freed; a fault reads it again."""

from shootdown.machine.entry import DIRTY, RW
from shootdown.machine.geometry import PAGES
from shootdown.machine.x86 import POISON_FREE
from tests.kernel import BATCHED_FLUSH, Kernel, written


def test_the_order_of_steps() -> None:
    """The flush comes between the unmapping and the write, and nothing is left to flush before the free."""
    k = written(layout="file")

    assert k.run(1, "swapout") == [
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
        "folio_clear_dirty_for_io",
        "submit_bio",
        "folio_trylock",
        "flush before free",
        "__remove_mapping, free_unref_folios",
        "return",
    ]


def test_a_page_leaves_its_cache_and_is_read_again() -> None:
    """Nothing names the frame any more, and a load finds the content in another incarnation."""
    k = written(layout="file")
    frame = k.frame()

    k.run(1, "swapout")
    assert k.w.machine.memory[frame << 2] == POISON_FREE
    assert (k.pte(), k.w.shared[PAGES], k.w.disk, k.w.rmap) == (0, -1, {PAGES: 1}, {})

    assert k.read(1) == 1
    assert k.pte() & (RW | DIRTY) == 0


def test_a_clean_page_is_flushed_and_not_written() -> None:
    """Its stale entry would lead to the freed frame."""
    k = Kernel(layout="file")
    k.read(0)

    names = k.run(1, "swapout")
    assert "submit_bio" not in names
    assert names.index("arch_tlbbatch_flush") < names.index("__remove_mapping, free_unref_folios")
    assert not k.cached(0)


def test_it_is_unmapped_in_every_address_space() -> None:
    """Each address space reads the page again, and they share it again."""
    k = written(layout="file")
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    k.read(1)

    k.run(0, "swapout")
    assert (k.pte(), k.pte(mm=1)) == (0, 0)
    assert k.write(1) == 2
    assert k.read(0) == 2


def test_a_store_before_the_flush_is_written() -> None:
    """The entry is gone, but the translation still exists."""
    k = written(layout="file")
    k.start(1, "swapout", until="try_to_unmap_flush_dirty")

    assert k.write(0) == 2
    k.finish(1)
    assert k.w.disk == {PAGES: 2}
    assert k.read(0) == 2


def test_a_fault_waits_while_the_page_is_unmapped() -> None:
    """The folio is locked until it is written; then the fault maps it, and reclaim keeps it."""
    k = written(layout="file")
    k.start(1, "swapout", until="folio_clear_dirty_for_io")
    k.start(0, "write", until="do_anonymous_page")
    assert not k.step(0)

    k.past(1, "submit_bio")
    k.finish(0)
    frame = k.frame()
    k.finish(1)
    assert k.frame() == k.w.shared[PAGES] == frame
    assert k.w.dirty >> frame & 1


def test_a_pinned_page_is_kept() -> None:
    """Its entries are gone and flushed; the folio stays in the page cache, dirty, with one reference."""
    k = Kernel(cpus=3, layout="file")
    k.write(0)
    frame = k.frame()
    k.start(2, "pin", past="gup_fast: PMD and PTE unchanged, local_irq_restore")
    k.start(1, "swapout", until="folio_unlock")
    assert not k.cached(0)
    k.finish(2)
    k.finish(1)

    assert k.w.shared[PAGES] == frame
    assert k.w.dirty >> frame & 1
    assert (k.w.refs[frame], k.w.page_lock) == (1, 0)
    assert k.read(0) == 1


def test_a_hole_that_is_punched_meanwhile() -> None:
    """Reclaim has written the page and released it: the page that the punch has taken out is not put back."""
    k = written(layout="file", cpus=3)
    k.start(1, "swapout", past="submit_bio")
    k.run(2, "punch")
    k.finish(1)

    assert (k.w.shared[PAGES], k.w.disk) == (-1, {})
    assert k.read(0) == 0
