"""The locks of VMAs: which operation holds one for reading, which waits for it, and which overlaps with a writer of
mmap_lock.
"""

import pytest

from shootdown.mm.arguments import MAP_TYPES
from shootdown.mm.mmap import FILE, HUGE, SHARED
from shootdown.mm.state import WRITER
from shootdown.mm.vma import vmas_in, whole_vmas
from tests.kernel import Kernel, R, W, X, prot

CALL, FIRST = "dontneed", "madvise_lock, madvise_walk_vmas"


def kernel(layout: str = "private") -> Kernel:
    """Return a kernel with pages 0 to 3 of one VMA that can be read and written, and 4 to 6 of one that can be executed
    too; page 7 is a hole.
    """
    k = Kernel(layout=layout, pages=8, cpus=3)
    k.run(0, "munmap", 7, 1)
    k.run(0, "mprotect", 4, 3, R | W | X)
    k.write(0, 1)
    k.write(0, 5)
    return k


WRITERS = {
    "mprotect": ("mprotect", 1, 1, R),
    "pkey_mprotect": ("pkey_mprotect", 1, 1, R | W | 1 << 3),
    "munmap": ("munmap", 1, 1, 0),
    "mremap away": ("mremap", 1, 1, 7),
    "uffd_register": ("uffd_register", 1, 1, 0),
    "fork": ("fork", 0, 1, 0),
    "clear_refs": ("clear_refs", 0, 1, 0),
}


@pytest.mark.parametrize("page", [0, 3])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_waits_for_the_readers_of_its_vma(writer: str, page: int) -> None:
    """Wherever in the VMA the fault is: the call does not begin, and has changed nothing, until it is over."""
    k = kernel()
    name, first, count, arg = WRITERS[writer]
    k.start(1, "read", page, past="page fault")
    k.start(0, name, first, count, arg)
    if name == "mremap":
        # The VMA at the target would come first, but there is none.
        assert k.step(0)
    while k.next(1) != "access":
        before = k.w.key()
        assert not k.step(0)
        assert k.w.key() == before
        assert k.step(1)

    assert k.step(0)


@pytest.mark.parametrize("name", ["read", CALL, "free"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_reader_waits_for_the_writer_of_its_vma(writer: str, name: str) -> None:
    """From the first step of the call to its last no reader locks the VMA; after that the reader does."""
    k = kernel()
    called, first, count, arg = WRITERS[writer]
    k.start(0, called, first, count, arg)
    assert k.step(0)
    if called == "mremap":
        assert k.step(0)
    k.start(1, name, 0)
    if name == "read":
        k.until(1, "page fault")
    while k.next(0) and called != "munmap":
        assert not k.step(1)
        assert k.step(0)

    assert k.step(1)


@pytest.mark.parametrize("name", ["write", CALL, "free"])
@pytest.mark.parametrize("writer", sorted(WRITERS.keys() - {"fork", "clear_refs"}))
def test_a_reader_of_another_vma_runs_beside_the_writer(writer: str, name: str) -> None:
    """Faults and both advices end at every step of a call on another VMA."""
    k = kernel()
    called, first, count, arg = WRITERS[writer]
    k.start(0, called, first, count, arg)
    assert k.step(0)
    while k.next(0):
        k.run(1, name, 5)
        assert name != "write" or isinstance(k.shown(), int)
        assert k.step(0)


@pytest.mark.parametrize("name", ["write", CALL, "free"])
def test_a_call_that_changes_nothing_waits_for_nobody(name: str) -> None:
    """Mprotect with unchanged rights locks no VMA."""
    k = kernel()
    k.start(1, name, 2)
    while not k.w.vma_readers:
        assert k.step(1)
    k.run(0, "mprotect", 0, 4, R | W)

    assert k.w.vma_readers


def test_vmas_change_one_after_another() -> None:
    """While mprotect waits for its second VMA, the first one is protected; none is unlocked before the end."""
    k = kernel()
    k.start(1, "write", 6, past="page fault")
    k.start(0, "mprotect", 3, 3, R)
    while k.step(0):
        pass
    assert k.next(0) == "mprotect_fixup"
    assert [vma & W for vma in k.w.vma[0][3:5]] == [0, W]
    k.start(2, "read", 2, until="page fault")
    assert not k.step(2)
    k.finish(1)
    k.finish(0)

    assert k.write(1, 5) == k.write(1, 3) == "ACCERR"
    assert isinstance(k.write(1, 2), int)


def test_the_lock_of_an_advice_ends_before_its_flush() -> None:
    """A writer of the VMA comes in between the walk of MADV_DONTNEED and its flush, and its own gather is nested."""
    k = kernel()
    k.read(2, 1)
    k.start(1, CALL, 1, past="vma_end_read")
    assert not k.w.vma_readers
    assert k.cached(2, 1)
    k.run(0, "mprotect", 1, 1, R)

    assert not k.cached(2, 1)
    assert k.finish(1)[-1] == "return"


@pytest.mark.parametrize("why", ["registered", "two regions", "a hole"])
def test_an_advice_that_needs_the_mmap_lock(why: str) -> None:
    """A registered VMA, a range of several VMAs, or one with a hole: mmap_lock is held for reading to the end."""
    k = kernel()
    first, count = {"registered": (1, 1), "two regions": (3, 2), "a hole": (6, 2)}[why]
    if why == "registered":
        k.run(0, "uffd_register", 1, 1)
    k.start(1, CALL, first, count)
    assert k.step(1)
    while k.next(1) != "mmap_read_unlock, return":
        assert k.w.mmap_lock[0] == 1
        assert not k.w.vma_readers
        assert k.step(1)


@pytest.mark.parametrize("page", [3, 6])
def test_a_new_neighbour_waits_where_it_is_merged(page: int) -> None:
    """A new region waits for the readers of a VMA that it will extend, but not for those of another VMA beside it."""
    k = kernel()
    k.start(1, "read", page, past="page fault")
    k.start(0, "mmap", 7, 1, prot(R | W | X))

    assert k.step(0) == (page == 3)


@pytest.mark.parametrize("page", [3, 6])
def test_a_moved_region_waits_where_it_is_merged(page: int) -> None:
    """A move to a place beside a VMA of the same kind waits for its readers, before the move."""
    k = kernel()
    k.run(0, "mprotect", 4, 3, R | W)
    k.run(0, "mprotect", 1, 1, R)
    k.run(0, "mprotect", 4, 3, R)
    k.start(1, "read", page, past="page fault")
    k.start(0, "mremap", 1, 1, 7)
    assert k.step(0)

    assert k.step(0) == (page == 3)
    assert k.w.mmap_lock[0] == WRITER


def test_a_collapse_waits_for_its_own_vma_alone() -> None:
    """Khugepaged locks the VMA of the 2 MiB."""
    k = Kernel(layout="huge", pages=8, cpus=3)
    k.write(0, 0)
    k.write(0, 4)
    k.run(0, "dontneed", 1, 1)
    k.run(0, "mprotect", 4, 4, R)
    k.start(0, "collapse", 0, until="__collapse_huge_page_copy")

    assert k.read(1, 5) == 0
    k.start(1, "read", 2, until="page fault")
    assert not k.step(1)


def test_a_fault_beside_a_munmap_under_the_same_table_keeps_the_table() -> None:
    """A VMA that is left under a page table keeps it (free_pgtables)."""
    k = kernel()
    k.start(0, "munmap", 4, 2)
    assert k.step(0)
    value = k.write(1, 6)
    k.finish(0)

    assert k.read(2, 6) == value
    assert k.journal.freed_tables == []


def test_an_access_to_a_hole_waits_for_any_writer() -> None:
    """If there is no VMA, the fault takes mmap_lock, because a writer might just now be adding one."""
    k = kernel()
    k.start(0, "mprotect", 1, 1, R)
    assert k.step(0)
    k.start(1, "read", 7, until="page fault")

    k.waits(1, until_end_of=0)
    assert k.shown() == "MAPERR"


def test_what_a_vma_is() -> None:
    """Equal flags make pages one VMA; for shared memory their places must also be consecutive."""
    k = Kernel(pages=8)
    k.run(0, "munmap", 0, 8)
    for page, count, kind in ((0, 2, HUGE), (2, 2, SHARED), (4, 2, FILE), (7, 1, FILE)):
        k.run(0, "mmap", page, count, prot(R | W, kind))
    regions = k.w.vma[0]
    assert MAP_TYPES[FILE] == "file"
    assert vmas_in(regions, 1, 7) == [(1, 1), (2, 2), (4, 2), (7, 1)]
    assert whole_vmas(regions, 1 << 1 | 1 << 5 | 1 << 6) == 0b00110011

    k.run(0, "mremap", 3, 1, 6)
    assert vmas_in(k.w.vma[0], 2, 5) == [(2, 1), (4, 2), (6, 1)]
