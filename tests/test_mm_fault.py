"""The page-fault handler: demand zero, spurious faults, and the signals MAPERR and ACCERR."""

from collections.abc import Callable

import pytest

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    EXEC,
    NX,
    PRESENT,
    READ,
    RW,
    SOFT_DIRTY,
    SOFTW1,
    USER,
    WRITE,
)
from shootdown.mm.access import RETRIES
from shootdown.mm.state import NOBODY, SPURIOUS, ZERO_FRAME
from shootdown.mm.tables import set_pte
from shootdown.run.oracle import Violation
from tests.kernel import Kernel, R, W, X, prot, written

PROTECTIONS = range(8)


def kernel_with(rights: int, policy: str = "linux") -> Kernel:
    """Return a kernel whose pages are mapped with the rights."""
    k = Kernel(policy, layout="empty")
    k.run(0, "mmap", 0, 4, prot(rights))
    return k


def allowed(rights: int, kind: int) -> bool:
    """Return what a region allows on x86: any right implies READ."""
    return rights != 0 if kind == READ else bool(rights & kind)


def test_a_read_maps_the_zero_page() -> None:
    """The first load of a private page maps the zero page, read-only and special, and allocates nothing."""
    k = Kernel()
    k.read(0, 1)
    before = k.w.free_frames

    assert k.read(0) == 0
    assert k.pte() == PRESENT | USER | ACCESSED | NX | SOFTW1
    assert k.frame() == ZERO_FRAME
    assert k.w.free_frames == before


def test_a_write_maps_a_frame_of_zeros() -> None:
    """The first store of a private page allocates a frame, writable and dirty, and both CPUs see the value."""
    k = Kernel()
    value = k.write(0)

    assert k.pte() & 0xFFF == PRESENT | RW | USER | ACCESSED | DIRTY | SOFT_DIRTY
    assert k.frame() != ZERO_FRAME
    assert k.w.refs[k.frame()] == 1
    assert k.read(1) == value


def test_the_rest_of_a_new_frame_is_zero() -> None:
    """What a fault maps holds no poison."""
    k = Kernel(layout="shared")

    assert k.read(0) == 0
    assert [k.w.machine.read_entry(k.frame(), i) for i in range(4)] == [0] * 4


def test_a_shared_page_is_one_frame_for_all() -> None:
    """A shared page is populated once, writable at once, and the page cache holds a reference of its own."""
    k = Kernel(layout="shared")
    k.read(0)

    assert k.pte() & (RW | DIRTY) == RW
    assert k.w.shared[0] == k.frame()
    assert k.w.refs[k.frame()] == 2


@pytest.mark.parametrize("kind", ["read", "write", "exec"])
def test_without_a_region_the_signal_is_maperr(kind: str) -> None:
    """An access to a page of no region ends with MAPERR and maps nothing."""
    k = Kernel(layout="empty")

    assert k.access(0, kind) == "MAPERR"
    assert k.pmd() == 0
    assert k.w.mmap_lock[0] == 0


@pytest.mark.parametrize("populated", [False, True])
@pytest.mark.parametrize("rights", PROTECTIONS)
@pytest.mark.parametrize(("name", "kind"), [("read", READ), ("write", WRITE), ("exec", EXEC)])
def test_the_region_decides(name: str, kind: int, rights: int, *, populated: bool) -> None:
    """An access succeeds iff the region allows it, otherwise the signal is ACCERR; WRITE or EXEC alone imply READ."""
    k = kernel_with(R | W | X)
    if populated:
        k.write(0)
    k.run(0, "mprotect", 0, 1, rights)

    assert (k.access(0, name) != "ACCERR") == allowed(rights, kind)


def test_two_faults_populate_a_page_once() -> None:
    """Of two CPUs that fault on one page, the second finds the first one's frame and uses it."""
    k = Kernel()
    for cpu in (0, 1):
        k.start(cpu, "write")
    for cpu in (0, 1):
        k.until(cpu, "do_anonymous_page")
    k.finish(0)
    frame, free = k.frame(), k.w.free_frames
    k.finish(1)

    assert (k.frame(), k.w.free_frames) == (frame, free)
    assert k.read(0) == k.read(1) == 2


def test_two_faults_make_one_table() -> None:
    """Of two CPUs that find no page table, one hooks a new one in."""
    k = Kernel()
    k.start(0, "write", 0)
    k.start(1, "write", 1)
    for cpu in (0, 1):
        k.until(cpu, "pte_alloc")
    k.finish(0)
    table, free = k.pmd(), k.w.free_frames
    k.past(1, "pte_alloc")

    assert (k.pmd(), k.w.free_frames) == (table, free)
    k.finish(1)
    assert k.pmd() == table
    assert (k.read(1, 0), k.read(0, 1)) == (1, 2)


def blocked_while(k: Kernel, held: Callable[[], bool]) -> None:
    """Run CPU 0 until it no longer holds the lock; assert that until then CPU 1 can do nothing, and changes nothing."""
    assert held()
    while held():
        before = k.w.key()
        assert not k.step(1)
        assert k.w.key() == before
        k.step(0)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_populating_waits_for_the_table_lock(kind: str) -> None:
    """do_anonymous_page needs the PTL: while another CPU has it, it is blocked with no effect; it keeps no lock."""
    k = Kernel()
    k.read(0, 1)
    k.start(1, kind, until="do_anonymous_page")
    k.start(0, "age", 1, past="pte_lock")
    blocked_while(k, lambda: k.w.ptl[0] == 0)

    assert k.step(1)
    assert k.pte() & PRESENT
    assert k.w.ptl[0] == NOBODY
    k.finish(0)


def test_a_new_table_waits_for_the_pmd_lock() -> None:
    """pte_alloc needs the PMD lock: while another CPU has it, it is blocked with no effect; it keeps no lock."""
    k = Kernel(layout="huge", pages=8)
    k.run(0, "mprotect", 0, 1, R)
    k.start(1, "read", until="pte_alloc")
    k.start(0, "write", 4, past="pmd_lock")
    blocked_while(k, lambda: k.w.pmd_lock[0] == 0)

    assert k.step(1)
    assert k.pmd() & PRESENT
    assert k.w.pmd_lock[0] == NOBODY
    k.finish(0)


@pytest.mark.parametrize("kind", ["write", "exec"])
def test_a_spurious_fault_is_healed(kind: str) -> None:
    """A fault through an entry that is tighter than the page table is counted, and then the access succeeds."""
    k = kernel_with(R, policy="minimal-exec-check")
    k.read(0)
    k.read(1)
    k.run(0, "mprotect", 0, 1, R | W | X)
    k.write(0)
    k.run(0, "mprotect", 0, 1, R)
    k.read(1)
    k.run(0, "mprotect", 0, 1, R | W | X)

    assert isinstance(k.access(1, kind), int)
    assert k.w.costs[SPURIOUS] == 1
    assert k.names[1].count("page fault") == 1


def test_a_spurious_write_fault_makes_the_entry_young_and_dirty() -> None:
    """The handler sets ACCESSED and DIRTY in what it finds already writable."""
    k = written()
    bare = k.pte() & ~(ACCESSED | DIRTY | SOFT_DIRTY)
    k.w.ptl[0] = 1
    set_pte(k.w, 1, 0, 0, bare & ~RW)
    k.start(1, "write", until="page fault")
    set_pte(k.w, 1, 0, 0, bare)
    k.w.ptl[0] = -1
    k.past(1, "handle_pte_fault, PTE present")

    assert k.pte() == bare | ACCESSED | DIRTY | SOFT_DIRTY


def test_a_fault_that_never_heals_ends() -> None:
    """If the region allows an access and the entry still denies it, the access is given up after 16 retries."""
    k = Kernel("v3")
    k.read(0)
    k.w.vma[0][0] |= X

    with pytest.raises(Violation, match="fault-never-heals"):
        k.fetch(0)
    assert k.names[0].count("page fault") == RETRIES == 16
    assert k.w.op[0] == -1


def test_an_entry_that_changed_in_front_of_the_lock_is_looked_at_anew() -> None:
    """The handler gives up, and the access faults again, if the entry is not the one that it saw without the lock."""
    k = Kernel()
    k.read(0)
    k.start(1, "write", until="pte_lock")
    k.run(0, "dontneed")
    k.finish(1)

    assert k.names[1].count("page fault") == 2
    assert isinstance(k.shown(), int)


@pytest.mark.parametrize("layout", ["private", "pfnmap"])
def test_the_handler_holds_a_lock_to_its_end(layout: str) -> None:
    """A fault holds the lock of its VMA for reading from its first step to its last, before the access is repeated.

    In a driver's region it holds mmap_lock.
    """
    k = Kernel(layout=layout)
    held = ({}, 1) if layout == "pfnmap" else ({0: 1}, 0)
    k.start(0, "write", until="page fault")
    assert (k.w.vma_readers, k.w.mmap_lock[0]) == ({}, 0)
    k.step(0)
    while k.next(0) != "vma_end_read, retry":
        assert (k.w.vma_readers, k.w.mmap_lock[0]) == held
        k.step(0)
    assert (k.w.vma_readers, k.w.mmap_lock[0]) == held
    k.step(0)

    assert (k.w.vma_readers, k.w.mmap_lock[0]) == ({}, 0)
    assert k.next(0) == "access"


def test_the_order_of_demand_zero() -> None:
    """Without a page table the handler hooks one in and checks again; then it populates the page."""
    k = Kernel()
    retry = ["vma_end_read, retry", "access"]

    assert k.run(0, "write") == [
        "access",
        "page fault",
        "pte_alloc",
        "handle_mm_fault",
        "do_anonymous_page",
        *retry,
    ]
    assert k.run(0, "write", 1) == ["access", "page fault", "do_anonymous_page", *retry]


@pytest.mark.parametrize("layout", ["empty", "readonly"])
def test_a_denied_access_ends_with_its_fault(layout: str) -> None:
    """An access that no region allows is over with the step of the fault, which leaves mmap_lock as it was."""
    k = Kernel(layout=layout)
    for readers in (0, 1):
        k.w.mmap_lock[0] = readers

        assert k.run(0, "write") == ["access", "page fault"]
        assert k.shown() in ("MAPERR", "ACCERR")
        assert k.w.mmap_lock[0] == readers
        assert k.w.op[0] == -1


def test_a_denied_access_waits_for_a_writer() -> None:
    """A fault is denied by the region that it finds when the VMA is free: after the mprotect, not during it."""
    k = kernel_with(R)
    k.start(1, "write", until="page fault")
    k.start(0, "mprotect", 0, 1, R | W, past="mmap_write_lock, mprotect_fixup")
    while k.next(0):
        assert not k.step(1)
        k.step(0)
    k.finish(1)

    assert isinstance(k.shown(), int)


def test_an_event_releases_the_lock_of_the_vma_last() -> None:
    """A write that userfaultfd gets ends with the step that releases the VMA, after the table lock."""
    for layout, unlock in (("private", "pte_unlock"), ("huge", "pmd_unlock")):
        k = written(layout=layout)
        k.run(0, "uffd_register", 0, 4)
        k.run(0, "uffd_wp", 0, 4)
        k.start(0, "write", until="vma_end_read, deliver")
        assert k.w.vma_readers == {0: 1}
        assert (k.w.ptl[0], k.w.pmd_lock[0]) == (NOBODY, NOBODY)

        assert k.finish(0)[-2:] == [unlock, "vma_end_read, deliver"]
        assert not k.w.vma_readers
        assert k.shown() == "userfaultfd"


def test_a_delivered_signal_releases_every_lock() -> None:
    """After a signal nothing of the access is left."""
    k = Kernel(layout="readonly")
    k.read(0)

    assert k.write(0) == "ACCERR"
    assert k.w.mmap_lock[0] == 0
    assert k.w.steps[0] == []
    assert k.w.op[0] == -1
