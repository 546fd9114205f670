"""Write faults on write-protected pages: reuse, and the break of copy-on-write."""

from shootdown.machine.entry import ACCESSED, DIRTY, RW, SOFT_DIRTY
from shootdown.mm.state import ZERO_FRAME
from tests.kernel import FLUSH, Kernel, R, W, X, written


def forked(policy: str = "linux", cpus: int = 2) -> Kernel:
    """Return a parent on every CPU that stored to page 0 and forked."""
    k = written(policy, cpus=cpus)
    k.run(0, "fork")
    return k


def test_the_order_of_a_break() -> None:
    """Copy without the PTL, check again, clear and flush, and only then install; the old frame is released
    at the end.
    """
    k = forked()
    k.read(0)
    k.read(1)

    assert k.run(0, "write") == [
        "access",
        "page fault",
        "pte_lock",
        "handle_pte_fault, PTE present",
        "do_wp_page",
        "wp_page_reuse or wp_page_copy",
        "pte_unlock",
        "cow_user_page",
        "pte_lock",
        "ptep_clear_flush",
        "flush before install",
        *FLUSH,
        "set_pte_at",
        "pte_unlock",
        "put_page",
        "put_page",
        "vma_end_read, retry",
        "access",
    ]


def test_a_break_gives_a_frame_of_ones_own() -> None:
    """The writer has a new frame with the old content, writable and dirty; the other side keeps the old one."""
    k = forked()
    old = k.frame()
    value = k.write(0)

    assert k.frame() != old
    assert k.frame(mm=1) == old
    assert k.pte() & (RW | DIRTY | ACCESSED | SOFT_DIRTY) == RW | DIRTY | ACCESSED | SOFT_DIRTY
    assert (k.w.refs[old], k.w.refs[k.frame()]) == (1, 1)
    k.run(1, "switch", arg=1)
    assert (k.read(0), k.read(1)) == (value, 1)


def test_the_copy_has_the_content_before_the_store_comes() -> None:
    """Between the new entry and the store that asked for it, another CPU reads the copied content."""
    k = forked()
    k.start(0, "write", past="vma_end_read, retry")
    assert k.next(0) == "access"

    assert k.pte() & RW
    assert k.read(1) == 1
    k.finish(0)
    assert k.read(1) == 2


def test_no_two_cpus_see_two_pages() -> None:
    """Between the clear and the new entry no CPU has the old frame cached, because the flush comes in between."""
    k = forked()
    k.read(1)
    k.start(0, "write", until="flush_tlb_mm_range")
    assert k.pte() == 0
    assert k.cached(1)
    k.until(0, "set_pte_at")

    assert k.pte() == 0
    assert not k.cached(1)


def test_the_last_owner_reuses_the_frame() -> None:
    """When the other side has released the frame, a write fault adds RW and DIRTY, and neither copies nor flushes."""
    k = forked()
    k.run(1, "switch", arg=1)
    k.run(1, "munmap")
    frame, flushes = k.frame(), k.w.costs[0]
    names = k.run(0, "write")

    assert k.frame() == frame
    assert k.pte() & (RW | DIRTY) == RW | DIRTY
    assert "cow_user_page" not in names
    assert k.w.costs[0] == flushes


def test_the_zero_page_is_broken() -> None:
    """The first store to a page that was only read gets a frame of zeros and flushes the zero page away."""
    k = Kernel()
    k.read(0)
    k.read(1)
    value = k.write(0)

    assert k.frame() != ZERO_FRAME
    assert k.read(1) == value
    assert k.w.machine.memory[ZERO_FRAME] == 0


def test_a_break_that_lost_the_race_gives_up() -> None:
    """When the entry changed during the copy, the copy is freed, the pin is dropped, and the access faults again."""
    k = forked()
    old = k.frame()
    k.start(0, "write", past="cow_user_page")
    k.write(1)
    frame, free = k.frame(), k.w.free_frames
    k.finish(0)

    assert k.frame() == frame
    assert k.w.refs[old] == 1
    assert k.w.free_frames.bit_count() == free.bit_count() + 1
    assert k.read(1) == k.read(0) == 3


def test_the_old_frame_lives_as_long_as_it_is_copied() -> None:
    """A frame that is unmapped on both sides during the copy is freed by the copier's pin, not before."""
    k = forked(cpus=3)
    old = k.frame()
    k.start(0, "write", until="cow_user_page")
    k.run(1, "dontneed")
    k.run(2, "switch", arg=1)
    k.run(2, "dontneed")
    assert old not in k.journal.freed_frames
    k.finish(0)

    assert old in k.journal.freed_frames
    assert k.read(1) == k.shown()


def test_the_break_promises_that_the_old_frame_is_out_of_use() -> None:
    """After the fault no kind of access may use an older version of the page."""
    k = forked()
    k.journal.visited.clear()
    k.write(0)

    assert (0, 0, 0, R | W | X) in k.journal.visited


def test_the_promise_of_a_break_holds_before_the_store() -> None:
    """The floors rise in the step that releases the VMA's lock, and the store is still to come."""
    k = forked()
    k.start(0, "write", until="vma_end_read, retry")
    newest = len(k.journal.versions[0]) - 1
    assert max(k.journal.floor[kind][0] for kind in (R, W, X)) < newest
    assert k.w.vma_readers == {0: 1}
    k.step(0)

    assert [k.journal.floor[kind][0] for kind in (R, W, X)] == [newest] * 3
    assert not k.w.vma_readers
    assert k.next(0) == "access"


def test_a_pending_write_protection_is_flushed_in_front_of_the_copy() -> None:
    """In a region of userfaultfd a copy waits for the deferred flush of a parallel write-protection (6ce64428d620)."""
    k = Kernel(cpus=3)
    k.run(0, "uffd_register", 0, 2)
    k.write(0)
    k.run(0, "fork")
    k.read(2)
    k.start(0, "uffd_wp", 1, until="tlb_finish_mmu")
    names = k.run(1, "write")

    assert names.index("flush_tlb_mm_range") < names.index("cow_user_page")
    assert names.index("flush_tlb_mm_range") < names.index("pte_unlock", names.index("do_wp_page"))


def test_without_userfaultfd_nothing_is_flushed_in_front_of_the_copy() -> None:
    """Elsewhere an open gather is no reason to flush."""
    k = forked(cpus=3)
    k.start(2, "dontneed", 1, until="tlb_finish_mmu")
    names = k.run(1, "write")

    assert names.index("cow_user_page") < names.index("flush_tlb_mm_range")


def test_a_shared_page_is_never_copied() -> None:
    """A write fault in shared memory makes the page writable and stays with its frame."""
    k = Kernel(layout="shared")
    k.run(0, "uffd_register")
    k.write(0)
    k.run(0, "uffd_wp")
    k.run(0, "uffd_unwp")
    frame = k.frame()
    k.write(0)

    assert k.frame() == frame
    assert k.pte() & RW
