"""Regions of a driver's pages: entries that hold no reference, and the driver that takes its pages back."""

import pytest

from shootdown.machine.entry import ACCESSED, DIRTY, PRESENT, RW, SOFTW1
from shootdown.machine.geometry import PAGES
from shootdown.mm.numa_scan import MOVE
from shootdown.mm.state import VM_SHARED, VM_SOFTDIRTY, VM_UFFD_WP
from shootdown.mm.tables import is_special
from shootdown.reference.eager import EagerFlush
from tests.kernel import FLUSH, Kernel, R, W, written


def driver(cpus: int = 3, pages: int = 2, policy: str = "linux") -> Kernel:
    """Return a kernel whose program maps a driver's pages."""
    return Kernel(policy, layout="pfnmap", cpus=cpus, pages=pages)


def test_an_entry_is_special_and_holds_no_reference() -> None:
    """A fault maps the driver's frame, of zeros, which the driver alone has a reference to; the store sets DIRTY."""
    k = driver()
    assert k.read(0) == 0
    assert k.pte() & (PRESENT | SOFTW1 | RW | DIRTY) == PRESENT | SOFTW1 | RW
    frame = k.frame()

    assert k.w.driver == {0: frame}
    assert k.w.refs[frame] == 1
    assert k.write(0) == k.read(1)
    assert k.pte() & DIRTY


def test_the_order_of_munmap() -> None:
    """Zap, flush, and only then remove from i_mmap; nothing is freed, and the driver keeps its page and the content."""
    k = driver()
    value = k.write(0)
    frame = k.frame()
    steps = k.run(1, "munmap", 0, 2)

    order = [
        "pte_unlock",
        "tlb_end_vma",
        "flush_tlb_mm_range",
        "i_mmap_lock_write, unlink_file_vma",
    ]
    at = [steps.index(name) for name in (*order, "free_pgtables", "tlb_finish_mmu")]
    assert at == sorted(at)
    assert k.w.i_mmap == {}
    assert k.w.driver == {0: frame}
    assert k.w.machine.memory[frame << 2] == value


def test_munmap_of_other_memory_has_no_such_steps() -> None:
    """Pages with references are flushed at the gather's end, and are not in i_mmap."""
    for layout in ("private", "shared", "file"):
        k = written(layout=layout)
        steps = k.run(1, "munmap")

        assert not {"tlb_end_vma", "i_mmap_lock_write, unlink_file_vma"} & set(steps)


@pytest.mark.parametrize("policy", ["linux", "pfnmap-unflushed", "latr"])
def test_whether_munmap_flushes_before_the_region_is_unlinked(policy: str) -> None:
    """No TLB has the page when i_mmap loses its region; the seeded fault leaves it there, lazy shootdown does not."""
    k = driver(policy=policy)
    k.read(2)
    k.start(0, "munmap", until="free_pgtables")

    assert bool(k.w.machine.tlb[2]) == (policy == "pfnmap-unflushed")


def test_the_order_of_a_revocation() -> None:
    """Each space is zapped in its own gather, flushed at its end, and then the driver frees its page."""
    k = driver(cpus=2)
    k.read(0)

    assert k.run(1, "revoke") == [
        "i_mmap_lock_read, unmap_mapping_range",
        "tlb_gather_mmu",
        "zap_pmd_range",
        "pte_lock, flush_tlb_batched_pending",
        "ptep_get_and_clear_full",
        "pte_unlock",
        "tlb_finish_mmu",
        *FLUSH,
        "dec_tlb_flush_pending",
        "i_mmap_unlock_read, the driver frees its pages",
        "return",
    ]


def test_every_space_loses_the_page_and_finds_a_new_one() -> None:
    """Parent and child fault after it, on one new page of zeros; a page that was not revoked stays."""
    k = driver()
    k.write(0)
    kept = k.write(0, 1)
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    k.read(1)
    frame = k.frame()
    k.run(2, "revoke", 0)

    assert k.journal.freed_frames == [frame]
    assert k.read(1) == 0
    assert k.write(0) == k.read(1)
    assert k.read(1, 1) == kept
    k.journal.at_rest()


def test_a_revocation_goes_by_the_offset() -> None:
    """After mremap the page is found at its new address, and the driver's other page stays where it is."""
    k = driver(pages=4)
    k.write(0, 0)
    k.write(0, 1)
    k.run(0, "mremap", 0, 1, 3)
    k.run(1, "revoke", 3)
    assert k.pte(3) & PRESENT
    k.run(1, "revoke", 0)

    assert not k.pte(3)
    assert k.pte(1) & PRESENT
    assert k.w.i_mmap == {1: 1, 2: 2, 3: 0}


def test_a_revocation_finds_nothing_elsewhere() -> None:
    """Anonymous memory at the same addresses does not belong to a driver."""
    k = Kernel()
    value = k.write(0)

    assert k.run(1, "revoke", 0, 4) == [
        "i_mmap_lock_read, unmap_mapping_range",
        "i_mmap_unlock_read, the driver frees its pages",
        "return",
    ]
    assert k.read(0) == value


def test_an_unflushed_zap_is_flushed_by_who_comes_second() -> None:
    """The region is still in i_mmap: the gather is nested, and flushes everything although it has zapped nothing."""
    k = driver()
    k.write(2)
    k.start(0, "munmap", until="tlb_end_vma")
    assert k.w.machine.tlb[2]
    k.start(1, "revoke", until="i_mmap_unlock_read, the driver frees its pages")

    assert not k.w.machine.tlb[2]
    k.finish(1)
    k.finish(0)


def test_who_waits_for_a_revocation() -> None:
    """A fault, fork, munmap's unlink and mremap wait; another revocation does not."""
    for name, step in (
        ("read", "do_anonymous_page"),
        ("fork", "mmap_write_lock, dup_mmap"),
        ("munmap", "i_mmap_lock_write, unlink_file_vma"),
        ("mremap", "move_vma"),
    ):
        k = driver(pages=3)
        k.read(2, 1)
        k.run(0, "munmap", 2)
        k.start(1, "revoke", until="i_mmap_unlock_read, the driver frees its pages")
        k.run(2, "revoke")
        k.start(0, name, 0, 1, 2, until=step)

        assert not k.step(0), f"{name} goes on under i_mmap_rwsem"
        k.step(1)
        assert k.step(0), f"{name} waits for nobody"
        k.finish(0)


def test_a_revocation_waits_for_a_move() -> None:
    """Mremap has i_mmap_rwsem for writing until the old address is flushed, so the page is found at its new one."""
    k = driver()
    k.read(2)
    k.start(0, "mremap", 0, 1, 1, until="move_ptes")
    k.start(1, "revoke")

    assert not k.step(1)
    k.past(0, "i_mmap_unlock_write")
    assert not k.w.machine.tlb[2]
    k.finish(1)
    assert not k.pte(1)
    k.finish(0)


def test_fork_copies_the_entries() -> None:
    """The child has the same frame without a fault, neither young nor dirty; the parent's entry is as it was."""
    k = driver()
    k.write(0)
    before = k.pte()
    k.run(0, "fork")

    assert k.pte() == before
    assert k.pte(0, mm=1) == before & ~(ACCESSED | DIRTY)
    assert k.w.i_mmap == {0: 0, 1: 1, PAGES: 0, PAGES + 1: 1}
    assert k.w.refs[k.frame()] == 1


def test_a_child_that_is_copied_during_a_revocation_loses_the_page_too() -> None:
    """Its region is in i_mmap before its entries exist, and the walk reaches the parent first."""
    for paused in ("copy_present_pte", "fork returns the child"):
        k = driver()
        k.write(0)
        frame = k.frame()
        k.start(0, "fork", until=paused)
        k.start(1, "revoke", until="tlb_gather_mmu")
        k.finish(0)
        k.finish(1)

        assert k.journal.freed_frames == [frame]
        assert not k.pte()
        assert not k.pte(0, mm=1)


def test_exit_unlinks_without_a_flush() -> None:
    """No thread is left that could reach the pages (fullmm); the driver frees them when it wants."""
    k = driver(cpus=2)
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    k.write(1)
    frame = k.frame(mm=1)
    steps = k.run(1, "exit")

    assert "tlb_end_vma" not in steps
    assert k.w.i_mmap == {0: 0, 1: 1}
    k.run(0, "revoke", 0, 2)
    assert k.w.free_frames >> frame & 1


@pytest.mark.parametrize(
    ("name", "arg"),
    [
        ("dontneed", 0),
        ("free", 0),
        ("uffd_register", 0),
        ("migrate", 0),
        ("reclaim", 0),
        ("swapout", 0),
        ("age", 0),
        ("ksm", 0),
        ("collapse", 0),
        ("numa_scan", MOVE),
        ("pin", 0),
        ("clear_refs", 0),
        ("writeback", 0),
        ("punch", 0),
    ],
)
def test_who_leaves_them_alone(name: str, arg: int) -> None:
    """An operation that needs the page of an entry finds none, and some operations refuse the region."""
    k = driver(pages=4)
    value = k.write(0)
    k.write(0, 1)
    before = [k.pte(0), k.pte(1)]
    k.run(1, name, 0, 1, arg)

    assert [k.pte(0), k.pte(1)] == before
    assert k.w.refs[k.frame()] == 1
    assert k.w.vma[0][0] & (VM_SHARED | VM_SOFTDIRTY | VM_UFFD_WP) == VM_SHARED | VM_SOFTDIRTY
    assert k.read(0) == value


def test_mprotect_keeps_the_mark() -> None:
    """A special entry stays one, with and without rights, and a write fault makes it writable and copies nothing."""
    k = driver()
    value = k.write(0)
    frame = k.frame()
    for rights in (0, R, R | W):
        k.run(1, "mprotect", arg=rights)
        assert is_special(k.pte())
    assert k.read(0) == value
    k.write(0)
    assert k.frame() == frame


def test_the_reference_runs_the_same() -> None:
    """With a flush at every change the same pages are mapped, revoked and freed."""
    k = Kernel(EagerFlush(), layout="pfnmap", cpus=3)
    k.write(2)
    frame = k.frame()
    k.start(0, "munmap", until="free_pgtables")
    k.run(1, "revoke")

    assert k.journal.freed_frames == [frame]
    k.finish(0)
    k.journal.at_rest()
