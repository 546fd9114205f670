"""userfaultfd: registration, write-protection, its event, and its resolution."""

import pytest

from shootdown.machine.entry import DIRTY, PSE, RW, UFFD_WP
from shootdown.mm.mmap import FILE, SHARED
from shootdown.mm.state import VM_UFFD_WP
from tests.kernel import Kernel, R, W, prot, written


def protected(policy: str = "linux", cpus: int = 2, layout: str = "private") -> Kernel:
    """Return a kernel whose page 0 was stored to, registered and write-protected."""
    k = written(policy, cpus=cpus, layout=layout)
    k.run(0, "uffd_register", 0, 4)
    k.run(0, "uffd_wp", 0, 4)
    return k


def test_registration_marks_mapped_pages_only() -> None:
    """Regions of the range are registered, holes are skipped, and no entry changes."""
    k = written()
    k.run(0, "munmap", 1, 1)
    before = k.pte()
    k.run(0, "uffd_register", 0, 3)

    assert [vma & VM_UFFD_WP for vma in k.w.vma[0][:4]] == [VM_UFFD_WP, 0, VM_UFFD_WP, 0]
    assert k.pte() == before


def test_the_part_before_an_unregistered_region_is_protected() -> None:
    """The walk stops at the first region that is not registered (ENOENT); the regions before it are protected."""
    k = Kernel()
    for page in range(3):
        k.write(0, page)
    for page in (0, 2):
        k.run(0, "uffd_register", page, 1)
    k.run(0, "uffd_wp", 0, 3)

    assert [bool(k.pte(page) & UFFD_WP) for page in range(3)] == [True, False, False]


def test_a_range_that_begins_unregistered_is_refused() -> None:
    """Nothing is protected, and no gather is opened."""
    k = Kernel()
    for page in range(2):
        k.write(0, page)
    k.run(0, "uffd_register", 1, 1)
    names = k.run(0, "uffd_wp", 0, 2)

    assert not (k.pte(0) | k.pte(1)) & UFFD_WP
    assert "tlb_gather_mmu" not in names


def test_protection_passes_over_holes() -> None:
    """Registered regions on both sides of a hole are protected, each in its own gather."""
    k = Kernel()
    for page in (0, 2):
        k.write(0, page)
    k.run(0, "munmap", 1, 1)
    k.run(0, "uffd_register", 0, 3)
    names = k.run(0, "uffd_wp", 0, 3)

    assert [bool(k.pte(page) & UFFD_WP) for page in (0, 2)] == [True, True]
    assert names.count("tlb_gather_mmu") == 2


def test_a_range_with_a_region_that_cannot_be_registered_is_refused() -> None:
    """With a page of the file in the range nothing is registered (EINVAL)."""
    k = Kernel()
    k.run(0, "munmap", 1, 1)
    k.run(0, "mmap", 1, 1, prot(R | W, FILE))
    k.run(0, "uffd_register", 0, 3)

    assert not any(vma & VM_UFFD_WP for vma in k.w.vma[0])


def test_protection_takes_rw_and_sets_the_mark() -> None:
    """A populated page loses RW and gets UFFD_WP, keeps everything else, and is flushed everywhere."""
    k = written(cpus=2)
    k.write(1)
    k.run(0, "uffd_register")
    before = k.pte()
    k.run(0, "uffd_wp")

    assert k.pte() == before & ~RW | UFFD_WP
    assert not k.cached(0)
    assert not k.cached(1)


def test_a_write_is_reported() -> None:
    """A store to a protected page ends as an event on every CPU, without effect; loads go on."""
    k = protected()

    assert [k.write(cpu) for cpu in (0, 1)] == ["userfaultfd"] * 2
    assert [k.read(cpu) for cpu in (0, 1)] == [1, 1]
    assert k.w.mmap_lock[0] == 0
    assert k.w.ptl == [-1] * 6


def test_an_unpopulated_page_is_not_protected() -> None:
    """A page that was never touched has no mark: its first store succeeds."""
    k = protected()

    assert k.pte(1) == 0
    assert isinstance(k.write(0, 1), int)


def test_resolution_clears_the_mark_and_nothing_else() -> None:
    """Write-unprotect changes one software bit; RW comes back with the next write fault, by reuse."""
    k = protected()
    before = k.pte()
    k.run(0, "uffd_unwp")
    assert k.pte() == before & ~UFFD_WP

    names = k.run(0, "write")
    assert "wp_page_reuse or wp_page_copy" in names
    assert "cow_user_page" not in names
    assert k.pte() & (RW | DIRTY) == RW | DIRTY


def test_resolution_flushes_nothing() -> None:
    """When only a software bit changes, every rule but always skips the flush."""
    for policy in ("v1", "v3", "linux-5.19", "linux", "minimal", "minimal-exec-check"):
        k = protected(policy)

        assert "flush_tlb_mm_range" not in k.run(0, "uffd_unwp")
        assert [skip[:2] for skip in k.journal.skipped_changes] == [(0, 0)]

    assert "flush_tlb_mm_range" in protected("always").run(0, "uffd_unwp")


def test_protection_denies_stores_and_resolution_nothing() -> None:
    """Each page of the range is visited, denying WRITE when it is protected, and nothing when it is resolved."""
    k = protected()
    assert [visit[2:] for visit in k.journal.visited[-4:]] == [(page, W) for page in range(4)]
    k.run(0, "uffd_unwp", 0, 4)

    assert [visit[2:] for visit in k.journal.visited[-4:]] == [(page, 0) for page in range(4)]


def test_a_store_in_the_window_still_succeeds() -> None:
    """Between the change and the flush an old writable entry takes a store, and it stays."""
    k = Kernel()
    k.run(0, "uffd_register")
    k.write(0)
    k.write(1)
    k.start(0, "uffd_wp", until="flush_tlb_mm_range")
    value = k.write(1)
    k.finish(0)

    assert k.read(0) == value
    assert k.write(1) == "userfaultfd"


def test_page_faults_run_beside_a_protection() -> None:
    """A page outside the change is populated while a write-protection is under way."""
    k = protected()
    k.start(0, "uffd_wp", 0, 2, until="tlb_finish_mmu")

    assert isinstance(k.write(1, 3), int)


def test_a_huge_page_is_protected_whole_when_the_range_covers_it() -> None:
    """A leaf of 2 MiB keeps its size and gets the mark; a store to any of its pages is an event."""
    k = protected(layout="huge")

    assert k.pmd() & (PSE | UFFD_WP | RW) == PSE | UFFD_WP
    assert [k.write(1, page) for page in range(4)] == ["userfaultfd"] * 4
    k.run(0, "uffd_unwp", 0, 4)
    assert k.pmd() & (PSE | UFFD_WP) == PSE
    assert isinstance(k.write(1, 3), int)


def test_a_part_of_a_huge_page_splits_it() -> None:
    """When one page of a huge leaf is protected, only that page has the mark."""
    k = written(layout="huge")
    k.run(0, "uffd_register", 0, 4)
    k.run(0, "uffd_wp", 1)

    assert not k.pmd() & PSE
    assert [bool(k.pte(page) & UFFD_WP) for page in range(4)] == [False, True, False, False]
    assert k.write(0, 1) == "userfaultfd"
    assert isinstance(k.write(0, 2), int)


def test_the_mark_survives_migration() -> None:
    """A page that migrates keeps its protection, in the migration entry and after it."""
    k = protected()
    old = k.frame()
    k.run(1, "migrate")

    assert k.frame() != old
    assert k.pte() & (UFFD_WP | RW) == UFFD_WP
    assert k.write(0) == "userfaultfd"


def test_a_page_under_migration_can_be_protected_and_resolved() -> None:
    """The swap form of the mark is set and cleared in the migration entry, and the new entry gets its state."""
    for last, mark in (("uffd_wp", UFFD_WP), ("uffd_unwp", 0)):
        k = written()
        k.run(0, "uffd_register")
        k.start(1, "migrate", until="folio_migrate_copy")
        k.run(0, "uffd_wp")
        k.run(0, last)
        k.finish(1)

        assert k.pte() & (UFFD_WP | RW) == mark


def test_mprotect_leaves_the_mark() -> None:
    """A protected page stays protected when its region loses and regains WRITE."""
    k = protected()
    k.run(0, "mprotect", 0, 1, R)
    k.run(0, "mprotect", 0, 1, R | W)

    assert k.pte() & (UFFD_WP | RW) == UFFD_WP


def marked() -> Kernel:
    """Return a kernel with shared memory, all of it registered and write-protected, of which page 0 was stored to."""
    return protected(layout="shared")


@pytest.mark.parametrize("page", [0, 1])
def test_shared_memory_is_protected_whether_it_is_mapped_or_not(page: int) -> None:
    """A page that was never touched is reported too, before a load of it and after one."""
    k = marked()

    assert k.write(1, page) == "userfaultfd"
    assert k.read(1, page) == 1 - page
    assert k.write(1, page) == "userfaultfd"
    k.run(0, "uffd_unwp", page)
    assert isinstance(k.write(1, page), int)


def test_a_table_is_allocated_for_markers() -> None:
    """If there is no page table, protection of shared memory makes one (pgtable_populate_needed)."""
    k = Kernel(layout="shared")
    k.run(0, "uffd_register", 0, 4)
    k.run(0, "uffd_wp", 1, 2)

    assert [bool(k.pte(page)) for page in range(4)] == [False, True, True, False]
    assert k.write(0, 1) == "userfaultfd"
    assert isinstance(k.write(0, 3), int)


def test_resolution_drops_a_marker() -> None:
    """The next store maps the page as if it had never been marked."""
    k = marked()
    k.run(0, "uffd_unwp", 1)

    assert k.pte(1) == 0
    assert k.pte(2)
    assert isinstance(k.write(0, 1), int)


@pytest.mark.parametrize("times", [1, 2])
def test_dropped_shared_memory_stays_protected(times: int) -> None:
    """MADV_DONTNEED leaves a marker, and a second one keeps it; the content is that of the object."""
    k = marked()
    for _ in range(times):
        k.run(0, "dontneed")

    assert k.w.refs[k.w.shared[0]] == 1
    assert k.read(0) == 1
    assert k.write(0) == "userfaultfd"


def test_a_page_that_is_dropped_while_it_migrates_stays_protected() -> None:
    """The mark of a migration entry becomes a marker."""
    k = marked()
    k.start(1, "migrate", until="folio_migrate_copy")
    k.run(0, "dontneed")
    k.finish(1)

    assert k.read(0) == 1
    assert k.write(0) == "userfaultfd"


def test_dropped_private_memory_is_not_protected() -> None:
    """A zap leaves nothing of anonymous memory: the next store is to a new page."""
    k = protected()
    k.run(0, "dontneed")

    assert k.pte() == 0
    assert isinstance(k.write(0), int)


@pytest.mark.parametrize(("operation", "target", "place"), [("munmap", 0, 0), ("mremap", 4, 5)])
def test_markers_end_with_their_region(operation: str, target: int, place: int) -> None:
    """Munmap drops them, and mremap leaves them behind: a mapping there afterwards can be stored to."""
    k = Kernel(layout="shared", pages=8)
    k.run(0, "munmap", 4, 4)
    k.run(0, "uffd_register", 0, 4)
    k.run(0, "uffd_wp", 0, 4)
    k.run(0, operation, 0, 4, target)
    if operation == "munmap":
        k.run(0, "mmap", 0, 4, prot(R | W, SHARED))

    assert isinstance(k.write(0, place), int)


def test_shared_memory_is_mapped_read_only_where_it_is_registered() -> None:
    """A load gives no right to write, so that a store after it makes a fault (vma_wants_writenotify)."""
    k = Kernel(layout="shared")
    k.run(0, "uffd_register", 0, 1)
    for page in (0, 1):
        k.read(0, page)

    assert [bool(k.pte(page) & RW) for page in (0, 1)] == [False, True]
    assert isinstance(k.write(0), int)


def test_mprotect_leaves_a_marker() -> None:
    """Rights that are removed and given back do not change it."""
    k = marked()
    k.run(0, "mprotect", 1, 1, R)
    k.run(0, "mprotect", 1, 1, R | W)

    assert k.write(0, 1) == "userfaultfd"
