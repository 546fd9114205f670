"""pkey_mprotect and wrpkru: the key of a region and of its entries, the thread's register, and the fault handler."""

from collections.abc import Callable

import pytest

from shootdown.machine.entry import ACCESSED, PKEY, PKEY_SHIFT, PRESENT, PROTNONE, PSE, READ, WRITE
from shootdown.machine.pkru import NO_ACCESS, NO_WRITE
from shootdown.mm.arguments import KEY_RIGHTS
from shootdown.mm.state import VM_MAPPED, VM_PKEY, VM_PKEY_SHIFT
from shootdown.mm.tables import allowance, page_prot
from shootdown.run.lockstep import ACCERR
from shootdown.scenario import kinds
from tests.kernel import Kernel, R, W, X, written

KEY1 = 1 << PKEY_SHIFT
RIGHTS = {name: arg for arg, name in enumerate(KEY_RIGHTS.names)}


def keyed(
    k: Kernel, key: int = 1, rights: int = R | W, *, page: int = 0, count: int = 1
) -> list[str]:
    """Run pkey_mprotect on CPU 0."""
    return k.run(0, "pkey_mprotect", page, count, rights | key << kinds.PKEY_SHIFT)


def wrpkru(k: Kernel, words: str, cpu: int = 0) -> list[str]:
    """Run wrpkru."""
    return k.run(cpu, "wrpkru", arg=RIGHTS[words])


def key_of_entry(entry: int) -> int:
    """Return the protection key of a page-table entry."""
    return (entry & PKEY) >> PKEY_SHIFT


@pytest.mark.parametrize("rights", range(8))
def test_the_key_is_part_of_vm_page_prot(rights: int) -> None:
    """It is part of it together with the rights, also in PAGE_NONE; the observer is told of both."""
    vma = VM_MAPPED | rights

    assert page_prot(vma | 1 << VM_PKEY_SHIFT) == page_prot(vma) | KEY1
    assert allowance(vma | 2 << VM_PKEY_SHIFT) == allowance(vma) | 2 << 3
    assert allowance(0) == -1


def test_only_the_key_changes() -> None:
    """A region that keeps its rights gets its key, and so does the entry, which is flushed; loads and stores are
    denied.
    """
    k = written()
    old = k.pte()
    names = keyed(k)

    assert k.pte() == old | KEY1
    assert k.w.vma[0][0] & VM_PKEY == 1 << VM_PKEY_SHIFT
    assert "flush_tlb_mm_range" in names
    assert k.journal.visited[-1] == (0, 0, 0, R | W)
    assert not k.cached(0)


def test_the_same_key_and_rights_change_nothing() -> None:
    """No entry is visited, no gather is opened."""
    k = written()
    keyed(k)

    assert "tlb_gather_mmu" not in keyed(k)


def test_mprotect_keeps_the_key() -> None:
    """The key from pkey_mprotect stays until the next one, also while the region allows nothing."""
    k = written()
    keyed(k, 2)
    for rights in (R, 0, R | W):
        k.run(0, "mprotect", 0, 1, rights)
        assert key_of_entry(k.pte()) == 2
        assert bool(k.pte() & PRESENT) == bool(rights)


def test_a_fault_maps_with_the_key_of_the_region() -> None:
    """First it maps the zero page, then a private page by a copy-on-write break."""
    k = Kernel()
    keyed(k)
    for access in (k.read, k.write):
        access(0)
        assert key_of_entry(k.pte()) == 1


def _fork(k: Kernel) -> int:
    k.run(0, "fork")
    return k.pte(mm=1)


def _broken_copy(k: Kernel) -> int:
    k.run(0, "fork")
    k.write(0)
    return k.pte()


def _moved(k: Kernel) -> int:
    k.run(0, "munmap", 2)
    k.run(0, "mremap", 0, 1, 2)
    return k.pte(2)


def _migrated(k: Kernel) -> int:
    k.run(1, "migrate", 0, 1, 0)
    return k.pte()


def _swapped_in(k: Kernel) -> int:
    k.run(1, "swapout", 0, 1, 0)
    assert not k.pte() & PRESENT
    k.read(0)
    return k.pte()


def _hinted(k: Kernel) -> int:
    k.run(1, "numa_scan")
    assert k.pte() & (PRESENT | PROTNONE | PKEY) == PROTNONE
    k.read(0)
    return k.pte()


def _aged(k: Kernel) -> int:
    k.run(1, "age", 0, 1, 0)
    assert not k.pte() & ACCESSED
    return k.pte()


def _cleared(k: Kernel) -> int:
    k.run(1, "clear_refs")
    return k.pte()


def _merged(k: Kernel) -> int:
    k.write(0, 1)
    k.run(0, "copy", 1, 1, 0)
    k.run(1, "ksm", 0, 1, 0)
    assert k.frame() == k.frame(1)
    return k.pte()


KEEPERS = [
    _fork, _broken_copy, _moved, _migrated, _swapped_in, _hinted, _aged, _cleared, _merged,
]  # fmt: skip


@pytest.mark.parametrize("what", KEEPERS)
def test_whoever_makes_an_entry_anew_gives_it_the_key(what: Callable[[Kernel], int]) -> None:
    """Copied, moved or derived from the region, the entry has the key of the page; the run is legal."""
    k = written()
    keyed(k)
    k.write(0)

    assert key_of_entry(what(k)) == 1
    k.journal.at_rest()


def test_a_huge_page() -> None:
    """A huge PMD has the key of its region; a key for a part splits the page, and each part has its own key."""
    k = written(layout="huge")
    keyed(k, count=4)
    assert k.pmd() & PSE
    assert key_of_entry(k.pmd()) == 1
    keyed(k, 2, page=1)

    assert [key_of_entry(k.pte(page)) for page in range(4)] == [1, 2, 1, 1]


def test_a_collapse_needs_one_key() -> None:
    """Two keys make two regions; with one key, the huge page has it."""
    k = written(layout="huge")
    keyed(k, 1, page=1)
    k.run(1, "collapse", 0, 1, 0)
    assert not k.pmd() & PSE
    keyed(k, 1, count=4)
    k.run(1, "collapse", 0, 1, 0)

    assert k.pmd() & PSE
    assert key_of_entry(k.pmd()) == 1


@pytest.mark.parametrize(("rights", "denied"), [("none", R | W), ("r", W), ("rw", 0)])
@pytest.mark.parametrize("mapped", [False, True])
def test_what_the_register_denies(rights: str, denied: int, *, mapped: bool) -> None:
    """Loads and stores end in a signal, with an entry (PF_PK) or without one (the key of the region); a fetch never
    does.
    """
    k = Kernel()
    keyed(k, 1, R | W | X)
    if mapped:
        k.write(0)
    wrpkru(k, f"{rights} k1")

    assert (k.read(0) == ACCERR) == bool(denied & READ)
    assert (k.write(0) == ACCERR) == bool(denied & WRITE)
    assert k.fetch(0) != ACCERR


def test_wrpkru_is_one_step_and_no_flush() -> None:
    """It is user code, which the kernel does not see."""
    k = written()
    keyed(k)
    k.write(0)
    flushes = k.w.costs.copy()

    assert wrpkru(k, "none k1") == ["wrpkru"]
    assert k.w.costs == flushes
    assert k.cached(0)


def test_the_register_is_the_threads() -> None:
    """A switch loads that of the other thread, and the way back loads the old one; a kernel thread in between changes
    nothing.
    """
    k = Kernel()
    keyed(k)
    k.write(0)
    k.run(0, "fork")
    wrpkru(k, "none k1", 1)
    wrpkru(k, "r k2", 1)
    k.run(1, "lazy")
    assert k.read(1) == ACCERR
    k.run(1, "switch", arg=1)
    assert k.w.machine.pkru[1] == 0
    assert k.read(1) != ACCERR
    k.run(1, "switch", arg=0)

    assert k.read(1) == ACCERR
    assert k.read(0) != ACCERR
    assert k.w.machine.pkru == [0, NO_ACCESS << 2 | NO_WRITE << 4]


def test_exit_ends_the_threads_registers() -> None:
    """The next owner of the address space's number begins with 0."""
    k = Kernel()
    k.run(0, "fork")
    k.run(1, "switch", arg=1)
    wrpkru(k, "none k1", 1)
    wrpkru(k, "r k1", 0)
    k.run(1, "exit")

    assert k.w.task_mm == [0, 0]
    assert k.w.machine.pkru[1] == 0
    assert list(k.w.pkru) == [0]


def test_pin_asks_the_register() -> None:
    """pte_access_permitted: the walk pins no page from which the thread may not load, small or huge."""
    for layout in ("private", "huge"):
        k = Kernel(layout=layout)
        keyed(k, count=4)
        k.write(0)
        assert "unpin_user_page" in k.run(0, "pin")
        wrpkru(k, "none k1")
        assert "unpin_user_page" not in k.run(0, "pin")
        assert "unpin_user_page" in k.run(1, "pin")


def test_a_fault_of_the_old_key_may_be_delivered_behind_the_window() -> None:
    """The load was made before the flush, so it may be denied; the next one must not be."""
    k = Kernel()
    keyed(k)
    k.read(0)
    wrpkru(k, "none k1", 1)
    k.w.machine.fill(1, 0)
    k.start(0, "pkey_mprotect", 0, 1, R | W, past="ptep_modify_prot_commit")
    k.start(1, "read", past="access")
    k.finish(0)
    k.finish(1)

    assert k.shown() == ACCERR
    assert not k.journal.explained
    assert k.read(1) == 0
