"""KSM: pages with equal content get one frame, and a store to either makes a copy."""

import pytest

from shootdown.machine.entry import DIRTY, PRESENT, RW, SOFT_DIRTY, UFFD_WP
from shootdown.mm.rmap import is_merged, mapcount
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario.corpus import load
from tests.kernel import Kernel, R, W, written


def alike(cpus: int = 2, pages: int = 4, layout: str = "private") -> Kernel:
    """Return a kernel whose pages 0 and 1 both have the value 1, the second one cached writable by CPU 0."""
    k = written(cpus=cpus, pages=pages, layout=layout)
    k.run(0, "copy", 0, 1, 1)
    return k


def merged() -> Kernel:
    """Return the same, page 1 merged into page 0's frame."""
    k = alike()
    k.run(1, "ksm", 1)
    return k


# The instruction that makes pages alike.


def test_a_copy_loads_and_stores() -> None:
    """Both pages have the value, in frames of their own."""
    k = alike()

    assert k.read(1, 1) == k.read(1) == 1
    assert k.frame(1) != k.frame()


@pytest.mark.parametrize(("denied", "page"), [("source", 0), ("target", 1)])
def test_a_copy_is_denied_as_a_load_or_a_store(denied: str, page: int) -> None:
    """Without rights to the source the load faults; with only the right to read, the store faults; nothing
    is stored.
    """
    k = Kernel()
    k.write(0, 1)
    k.run(0, "mprotect", page, 1, 0 if denied == "source" else R)
    k.run(0, "copy", 0, 1, 1)

    assert k.shown() == "ACCERR"
    assert k.read(0, 1) == 1


# The merge.


def test_the_order_of_steps() -> None:
    """Each page is write-protected and flushed; compared; the entry cleared and flushed, and then replaced."""
    k = alike()
    names = [name for name in k.run(1, "ksm", 1) if "flush_tlb" not in name]

    assert names == [
        "cmp_and_merge_page",
        "mmap_read_lock",
        "pte_lock",
        "write_protect_page, the page that stays",
        "flush before install",
        "set_pte_at",
        "pte_unlock",
        "mmap_read_unlock",
        "mmap_read_lock",
        "pte_lock",
        "write_protect_page",
        "flush before install",
        "set_pte_at",
        "pte_unlock",
        "pages_identical",
        "pte_lock",
        "replace_page",
        "flush before install",
        "set_pte_at",
        "pte_unlock",
        "mmap_read_unlock",
        "folio_unlock, put_page",
        "return",
    ]


def test_merged_pages_have_one_frame() -> None:
    """Both entries are read-only, the other frame is free, and nothing is locked."""
    k = alike()
    kept, dropped = k.frame(), k.frame(1)
    k.run(1, "ksm", 1)

    assert k.frame() == k.frame(1) == kept
    assert k.pte() & (PRESENT | RW) == k.pte(1) & (PRESENT | RW) == PRESENT
    assert k.journal.freed_frames == [dropped]
    assert (k.w.refs[kept], mapcount(k.w, kept)) == (2, 2)
    assert (k.w.page_lock, k.w.mmap_lock) == (0, [0, 0, 0])
    assert k.read(0) == k.read(1, 1) == 1


@pytest.mark.parametrize("page", [0, 1])
def test_a_store_to_a_merged_page_copies(page: int) -> None:
    """The other page keeps its content; it then has the only reference, and a store to it needs no copy."""
    k = merged()
    kept = k.frame()

    assert k.write(0, page) == 2
    assert k.read(1, 1 - page) == 1
    assert k.frame(page) != kept == k.frame(1 - page)
    assert k.write(0, 1 - page) == 3
    assert k.frame(1 - page) == kept
    assert k.read(0, page) == 2


def test_a_child_has_merged_pages_too() -> None:
    """A fork after the merge is a snapshot of both pages, and each of the four changes independently."""
    k = merged()
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    written = [k.write(0, 0), k.write(1, 1)]

    assert [k.read(0, 0), k.read(1, 1)] == written
    assert [k.read(0, 1), k.read(1, 0)] == [1, 1]


def test_a_page_leaves_a_merge_for_another() -> None:
    """A page that is merged into another space's frame is separate again: the page that was equal to it does not
    follow.
    """
    k = written()
    k.run(0, "fork")
    k.run(0, "copy", 0, 1, 1)
    k.run(0, "ksm", 0)
    k.run(0, "ksm", 0)

    assert k.frame() == k.frame(mm=1) != k.frame(1)
    assert k.write(0) == 2
    assert k.read(0, 1) == 1


@pytest.mark.parametrize("zap", ["dontneed", "munmap"])
def test_a_merged_page_is_dropped_alone(zap: str) -> None:
    """The frame lives as long as one of the pages maps it."""
    k = merged()
    kept = k.frame()
    k.run(0, zap, 0)

    assert k.read(0, 1) == 1
    k.run(0, zap, 1)
    assert k.journal.freed_frames[-1] == kept


def test_content_that_was_dropped_may_come_back_by_a_merge() -> None:
    """A page whose zap found nothing mapped is merged with the page that had the same content before."""
    k = merged()
    k.run(0, "dontneed", 1)
    k.run(0, "dontneed", 1)
    k.run(0, "copy", 0, 1, 1)
    k.run(0, "ksm", 1)

    assert k.frame() == k.frame(1)
    assert k.read(0, 1) == 1


def test_marks_are_kept() -> None:
    """A store to a marked page is still reported, and soft-dirty tracking still sees one to a page without a mark."""
    k = alike()
    k.run(0, "uffd_register", 1)
    k.run(0, "uffd_wp", 1)
    k.run(0, "clear_refs")
    k.run(1, "ksm", 1)

    assert k.frame() == k.frame(1)
    assert k.pte(1) & UFFD_WP
    assert k.write(0, 1) == "userfaultfd"
    assert not k.pte() & SOFT_DIRTY
    k.write(0)
    assert k.pte() & SOFT_DIRTY


@pytest.mark.parametrize("layout", ["shared", "file", "huge"])
def test_what_is_not_merged(layout: str) -> None:
    """Shared memory, pages of the file and huge pages are left alone."""
    k = alike(layout=layout)

    assert k.run(1, "ksm", 1) == ["cmp_and_merge_page", "return"]


@pytest.mark.parametrize("operation", ["free", "swapout"])
def test_a_page_that_is_not_kept_for_a_merge(operation: str) -> None:
    """A page that was freed lazily may be dropped, and a page in the swap cache has a slot: no other page
    joins them.
    """
    k = alike()
    k.run(0, operation, 0)
    k.read(0)

    assert k.run(1, "ksm", 1) == ["cmp_and_merge_page", "return"]


def test_pages_that_differ_are_not_merged() -> None:
    """A store between the search and the comparison is seen, and both pages stay as they are."""
    k = alike()
    k.start(1, "ksm", 1, past="cmp_and_merge_page")
    value = k.write(0, 1)
    names = k.finish(1)

    assert "replace_page" not in names
    assert k.frame() != k.frame(1)
    assert (k.read(0), k.read(0, 1)) == (1, value)
    assert k.w.page_lock == 0


def test_no_merge_while_the_page_is_copied() -> None:
    """A copy-on-write break of the page that stays has a reference to it: the entry is put back."""
    k = written(cpus=3, pages=8)
    k.run(0, "copy", 0, 1, 4)
    k.start(1, "ksm", 4, until="replace_page")
    k.start(2, "write", until="cow_user_page")
    entry = k.pte(4)
    k.finish(1)

    assert k.pte(4) == entry
    k.finish(2)
    assert (k.read(0), k.read(0, 4)) == (2, 1)


@pytest.mark.parametrize("operation", ["migrate", "swapout"])
def test_merged_pages_of_one_space_stay_where_they_are(operation: str) -> None:
    """The rmap would find two entries of one address space, which only KSM makes."""
    k = merged()
    assert is_merged(k.w, k.frame())
    entries = k.pte(), k.pte(1)
    k.run(1, operation)

    assert (k.pte(), k.pte(1)) == entries


def test_mprotect_does_not_make_merged_pages_writable() -> None:
    """A merged page is not exclusive, so the store after the mprotect makes a fault and a copy."""
    k = merged()
    k.run(0, "mprotect", 0, 2, R)
    k.run(0, "mprotect", 0, 2, R | W)

    assert not (k.pte() | k.pte(1)) & RW
    assert k.write(0) == 2
    assert k.read(0, 1) == 1


# The pending flush.


def test_a_clean_page_is_flushed_while_a_gather_is_open() -> None:
    """Without an open gather a read-only clean entry needs no flush; with one it does."""

    def flushes(*, gather: bool) -> bool:
        k = alike(cpus=3)
        k.run(0, "uffd_register", 1)
        k.run(0, "uffd_wp", 1)
        k.run(0, "free", 1)
        assert not k.pte(1) & (RW | DIRTY)
        if gather:
            k.start(2, "free", 3, until="tlb_finish_mmu")
        k.start(1, "ksm", 1, past="write_protect_page")
        return k.next(1) == "flush before install"

    assert not flushes(gather=False)
    assert flushes(gather=True)


def test_the_story_of_the_commit() -> None:
    """The race of b3a81d0841a9 is caught where the pages are compared, and does not exist if the merge checks."""
    scenario = load()["bad_c4_merge_pending_unseen"].scenario
    broken = execute(scenario, REGISTRY["merge-pending-unseen"].make())

    assert (broken.rule, broken.reason) == ("C4", "copied-under-a-writer")
    assert execute(scenario, REGISTRY["linux"].make()).verdict == "legal"
