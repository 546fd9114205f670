"""The huge zero page: read faults map it, its entries are its references, and the shrinker frees it when
none is left.
"""

from shootdown.machine.entry import DIRTY, PRESENT, PSE, RW, SOFTW1, USER
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.machine.x86 import POISON_FREE
from shootdown.mm.frames import alloc_huge
from shootdown.mm.state import HUGE_ZERO_FREE, NO_HUGE_ZERO, ZERO_FRAME
from shootdown.scenario import kinds
from tests.kernel import Kernel

ZAP = "zap_huge_pmd"


def huge(cpus: int = 2, pages: int = 4, policy: str = "linux") -> Kernel:
    """Return a kernel with huge regions that uses the huge zero page."""
    return Kernel(policy, cpus=cpus, pages=pages, layout="huge", machine=kinds.HUGE_ZERO)


def refs(k: Kernel) -> set[int]:
    """Return the references of its frames, which are the same of all."""
    first = k.w.huge_zero
    return set(k.w.refs[first : first + FANOUT])


def test_a_read_fault_maps_zeros_and_a_write_fault_memory() -> None:
    """It is read-only and clean, with a reference for the entry and one of its own."""
    k = huge(pages=8)

    assert k.read(0) == 0
    assert frame_of(k.pmd()) == k.w.huge_zero
    assert k.pmd() & (PRESENT | USER | PSE | RW | DIRTY) == PRESENT | USER | PSE
    assert refs(k) == {2}

    assert k.write(0, 4) == 1
    assert frame_of(k.pmd(1)) != k.w.huge_zero
    assert refs(k) == {2}


def test_without_the_switch_nothing_is_shared() -> None:
    """A read fault maps memory."""
    k = Kernel(layout="huge")
    k.read(0)

    assert k.w.huge_zero == NO_HUGE_ZERO
    assert k.w.refs[frame_of(k.pmd())] == 1
    assert k.run(1, "shrink") == ["shrink_huge_zero_folio_scan", "return"]


def test_without_a_block_small_pages_are_mapped() -> None:
    """The same happens if no huge page of memory is available."""
    k = huge()
    while alloc_huge(k.w) >= 0:
        pass

    assert k.read(0) == 0
    assert (k.frame(), k.w.huge_zero) == (ZERO_FRAME, HUGE_ZERO_FREE)


def test_all_regions_and_address_spaces_share_it() -> None:
    """Fork takes a reference and no snapshot."""
    k = huge(pages=8)
    k.read(0)
    k.read(0, 4)
    k.run(0, "fork")
    assert refs(k) == {5}

    k.run(1, "switch", arg=1)
    assert k.read(1, 7) == 0
    assert k.write(1, 7) == 1
    assert (refs(k), k.read(0, 7)) == ({4}, 0)


def test_a_store_flushes_before_memory_is_mapped() -> None:
    """The PMD is none in between, under its lock, and a read of another CPU waits for it when it has been flushed."""
    k = huge()
    k.read(1)
    k.start(0, "write", past="do_huge_zero_wp_pmd")
    assert (k.pmd(), k.read(1)) == (0, 0)

    k.until(0, "map_anon_folio_pmd")
    assert not k.cached(1)
    k.start(1, "read", until="pmd_lock")
    k.waits(1, until_end_of=0)
    assert k.shown() == 1
    assert refs(k) == {1}


def test_a_store_without_a_block_splits_it() -> None:
    """Then the one page is copied from the zero page."""
    k = huge()
    k.read(0)
    while alloc_huge(k.w) >= 0:
        pass

    assert k.write(0) == 1
    assert k.frame(1) == ZERO_FRAME
    assert refs(k) == {1}


def test_a_split_maps_the_zero_page() -> None:
    """Otherwise its frames would be four references to one page that is freed as a whole."""
    k = huge()
    k.read(0)

    k.run(0, "mprotect", 1, 1, kinds.PROT_READ)
    assert {k.frame(page) for page in range(4)} == {ZERO_FRAME}
    assert all(k.pte(page) & SOFTW1 for page in range(4))
    assert refs(k) == {1}


def test_a_zap_keeps_the_reference_until_it_has_flushed() -> None:
    """The shrinker comes in between and finds the reference."""
    k = huge()
    k.read(1)
    k.start(0, "dontneed", 0, 4, past=ZAP)

    k.run(1, "shrink")
    assert refs(k) == {2}
    k.finish(0)
    assert refs(k) == {1}


def test_the_shrinker_frees_what_nobody_maps() -> None:
    """The next read fault allocates it again, in another incarnation."""
    k = huge()
    k.read(0)
    first = k.w.huge_zero
    k.run(1, "shrink")
    assert k.w.huge_zero == first

    k.run(0, "munmap", 0, 4)
    k.run(1, "shrink")
    assert k.w.huge_zero == HUGE_ZERO_FREE
    assert k.w.machine.memory[first << 2] == POISON_FREE

    k.run(0, "mmap", 0, 4, kinds.PROT_READ | kinds.MAP_HUGE << kinds.MAP_SHIFT)
    assert k.read(0) == 0
    assert k.w.huge_zero >= 0


def test_what_leaves_it_alone() -> None:
    """MADV_FREE has nothing to give up, the NUMA scan nothing to migrate, khugepaged nothing to collapse."""
    k = huge()
    k.read(0)
    before = k.pmd()

    k.run(0, "free", 0, 4)
    k.run(0, "numa_scan", 0, 4, 1)
    k.run(1, "collapse")
    k.run(1, "migrate")
    k.run(1, "swapout")
    assert (k.pmd(), k.w.misplaced, refs(k)) == (before, 0, {2})


def test_mprotect_does_not_make_it_writable() -> None:
    """With its own reference it is never exclusive."""
    k = huge()
    k.read(0)
    k.run(0, "mprotect", 0, 4, kinds.PROT_READ)

    k.run(0, "mprotect", 0, 4, kinds.PROT_READ | kinds.PROT_WRITE)
    assert not k.pmd() & RW


def test_it_moves_as_a_whole() -> None:
    """Mremap moves the PMD with its reference."""
    k = huge(pages=8)
    k.read(0)

    k.run(0, "mremap", 0, 4, 4)
    assert (k.pmd(), frame_of(k.pmd(1))) == (0, k.w.huge_zero)
    assert (refs(k), k.read(0, 4)) == ({2}, 0)
