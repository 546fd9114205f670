"""fork: shared frames, write-protected on both sides, one flush before the unlock."""

import pytest

from shootdown.machine.entry import ACCESSED, DIRTY, MIGRATION_WRITE, NX, PRESENT, PSE, RW, UFFD_WP
from shootdown.machine.geometry import frame_of
from shootdown.mm.state import MMS, VM_SHARED, VM_UFFD_WP, WRITER
from shootdown.reference.objects import NO_OBJECT
from tests.kernel import FLUSH, Kernel, R, W, cached_twice, written


def family(layout: str = "private") -> tuple[Kernel, int]:
    """Return a parent on CPU 0 that stored to page 0 and forked, its child on CPU 1, and the value."""
    k = Kernel(layout=layout)
    value = k.write(0)
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    assert isinstance(value, int)
    return k, value


def test_both_sides_share_the_frame_without_rw() -> None:
    """Parent and child map the same frame, read-only, and the frame has two references."""
    k, _ = family()

    assert frame_of(k.pte(mm=1)) == k.frame() != 0
    assert k.w.refs[k.frame()] == 2
    assert not (k.pte() | k.pte(mm=1)) & RW
    assert k.pte() & k.pte(mm=1) & DIRTY
    assert not k.pte(mm=1) & ACCESSED


def test_both_sides_see_the_content_of_the_fork() -> None:
    """The child reads what the parent had stored, and only the writer sees a later store."""
    k, value = family()
    assert (k.read(0), k.read(1)) == (value, value)

    theirs = k.write(1)
    ours = k.write(0)
    assert (k.read(0), k.read(1)) == (ours, theirs)


def test_the_order_of_steps() -> None:
    """Both PTLs, every entry, then one flush of the parent, and only then is mmap_lock released (linux-tlb G.14)."""
    k = cached_twice()

    assert k.run(0, "fork") == [
        "mmap_write_lock, dup_mmap",
        "copy_pmd_range",
        "pte_lock",
        "pte_lock",
        *["copy_present_pte"] * 4,
        "pte_unlock",
        "pte_unlock",
        "copy_pmd_range",
        "flush_tlb_mm",
        "flush before return",
        *FLUSH,
        "fork returns the child",
        "mmap_write_unlock, return",
    ]


def test_the_parent_is_flushed_on_every_cpu() -> None:
    """No CPU keeps a writable entry of the parent beyond the return."""
    k = written(cpus=3)
    k.write(2)
    k.run(0, "fork")

    assert not k.cached(0)
    assert not k.cached(2)


def test_a_store_in_the_window_is_the_parents_and_may_be_the_childs() -> None:
    """Between write-protection and flush an old entry still takes a store, and both sides see it."""
    k = written()
    k.write(1)
    k.start(0, "fork", until="flush_tlb_mm_range")
    value = k.write(1)
    k.finish(0)
    k.run(0, "switch", arg=1)

    assert k.read(1) == k.read(0) == value


def test_the_child_is_not_there_before_the_fork_returns() -> None:
    """A switch to the child is without effect while fork is under way."""
    k = Kernel()
    k.start(0, "fork", until="fork returns the child")
    k.run(1, "switch", arg=1)
    assert k.w.task_mm[1] == 0
    k.finish(0)
    k.run(1, "switch", arg=1)

    assert k.w.task_mm[1] == 1


def test_regions_are_inherited_without_userfaultfd() -> None:
    """The child has the parent's regions; registration and the marks of write-protection stay behind."""
    k = written()
    k.run(0, "uffd_register", 0, 4)
    k.run(0, "uffd_wp")
    k.run(0, "fork")

    assert k.w.vma[1] == [vma & ~VM_UFFD_WP for vma in k.w.vma[0]]
    assert k.pte() & UFFD_WP
    assert not k.pte(mm=1) & UFFD_WP


def test_shared_pages_are_left_to_the_childs_faults() -> None:
    """A shared page stays writable in the parent, and the child finds the same object."""
    k, value = family("shared")

    assert k.w.vma[1][0] & VM_SHARED
    assert k.pte() & RW
    assert k.pte(mm=1) == 0
    assert k.read(1) == value
    mine = k.write(1)
    assert k.read(0) == mine


@pytest.mark.parametrize("rights", [0, R])
def test_pages_without_rw_are_inherited_too(rights: int) -> None:
    """A page under PROT_NONE or read-only is shared like any other."""
    k = Kernel()
    value = k.write(0)
    k.run(0, "mprotect", 0, 1, rights)
    before = k.pte()
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    k.run(1, "mprotect", 0, 1, R)

    assert k.pte() == before
    assert k.w.refs[k.frame()] == 2
    assert k.read(1) == value


def test_only_two_children_fit() -> None:
    """A third fork fails without effect (EAGAIN), and releases mmap_lock."""
    k = Kernel()
    k.run(0, "fork")
    k.run(0, "fork")
    roots = list(k.w.root)
    k.run(0, "fork")

    assert k.w.live == [True] * 3
    assert k.w.root == roots
    assert k.w.mmap_lock[0] == 0


def test_writable_pages_are_denied_for_stores_by_the_old_grants() -> None:
    """For each page of a writable private region, a fork promises that older rights to store are gone."""
    k = written()
    k.run(0, "mprotect", 2, 1, R)
    k.journal.visited.clear()
    k.run(0, "fork")

    assert {visit[1:] for visit in k.journal.visited} == {(0, page, W) for page in (0, 1, 3)}


def test_a_huge_page_is_shared_whole() -> None:
    """A huge leaf is copied as one, write-protected on both sides, with a reference to each frame."""
    k, value = family("huge")
    first = frame_of(k.pmd())

    assert k.pmd() & k.pmd(mm=1) & PSE
    assert not (k.pmd() | k.pmd(mm=1)) & RW
    assert k.w.refs[first : first + 4] == [2] * 4
    assert k.read(1) == value
    theirs = k.write(1)
    assert (k.read(0), k.read(1)) == (value, theirs)


def test_a_huge_page_is_inherited_without_userfaultfd() -> None:
    """The mark of write-protection of a huge page stays with the parent."""
    k = written(layout="huge")
    k.run(0, "uffd_register", 0, 4)
    k.run(0, "uffd_wp", 0, 4)
    k.run(0, "fork")

    assert k.pmd() & UFFD_WP
    assert not k.pmd(mm=1) & UFFD_WP


def test_a_migration_entry_is_inherited_without_rw() -> None:
    """Both sides have the migration entry, and both get the new frame, read-only."""
    k = Kernel()
    value = k.write(0)
    k.start(1, "migrate", until="folio_migrate_copy")
    k.run(0, "fork")
    assert k.pte() == k.pte(mm=1)
    assert not k.pte() & MIGRATION_WRITE
    k.finish(1)
    k.run(1, "switch", arg=1)

    assert k.frame() == frame_of(k.pte(mm=1))
    assert k.pte() & k.pte(mm=1) & PRESENT
    assert not (k.pte() | k.pte(mm=1)) & RW
    assert k.read(0) == k.read(1) == value
    parents, childs, _ = k.journal.objects[k.frame() * MMS : (k.frame() + 1) * MMS]
    assert NO_OBJECT not in (parents, childs)
    assert parents != childs


def test_the_lock_of_the_parent_is_held_from_first_to_last() -> None:
    """Both the copy and the flush happen under mmap_lock for writing."""
    k = written()
    k.start(0, "fork")
    assert k.w.mmap_lock[0] == 0
    k.past(0, "mmap_write_lock, dup_mmap")
    while k.next(0):
        assert k.w.mmap_lock[0] == WRITER
        k.step(0)
    assert k.names[0][-1] == "mmap_write_unlock, return"
    assert k.w.mmap_lock[0] == 0
    assert k.pte() & NX
