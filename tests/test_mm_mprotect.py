"""mprotect: every combination of rights, the encoding of PROT_NONE, the order of steps, and when RW comes back."""

import pytest

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    MIGRATION_WRITE,
    NX,
    PFN_MASK,
    PRESENT,
    PROTNONE,
    RW,
    SOFT_DIRTY,
    USER,
)
from shootdown.mm.change_protection import KEPT
from shootdown.mm.state import VM_RIGHTS, VM_SHARED, VM_SOFTDIRTY
from shootdown.mm.tables import page_prot
from shootdown.run.oracle import Violation
from tests.kernel import FLUSH, Kernel, R, W, X, prot, written

FULL = R | W | X
KINDS = {"read": R, "write": W, "exec": X}


def kernel_with(rights: int, policy: str = "linux") -> Kernel:
    """Return a kernel whose pages have been stored to and then got the rights."""
    k = Kernel(policy, layout="empty")
    k.run(0, "mmap", 0, 4, prot(FULL))
    k.write(0)
    k.run(0, "mprotect", 0, 4, rights)
    return k


def expected_bits(rights: int) -> int:
    """Return the flags of a private, exclusive, dirty page in a region with these rights."""
    if not rights:
        return ACCESSED | DIRTY | SOFT_DIRTY | PROTNONE
    bits = PRESENT | USER | ACCESSED | DIRTY | SOFT_DIRTY
    return bits | (RW if rights & W else 0) | (0 if rights & X else NX)


def allowed(rights: int, kind: int) -> bool:
    """Return what a region allows on x86: any right implies READ."""
    return rights != 0 if kind == R else bool(rights & kind)


@pytest.mark.parametrize("new", range(8))
@pytest.mark.parametrize("old", range(8))
def test_the_entry_has_the_rights_of_the_region(old: int, new: int) -> None:
    """From any rights to any others, a populated page ends with the bits of its new region."""
    k = kernel_with(old)
    k.run(0, "mprotect", 0, 1, new)

    assert k.pte() & ~PFN_MASK == expected_bits(new)


@pytest.mark.parametrize(
    "policy", ["always", "v3", "linux-5.19", "linux", "minimal", "minimal-exec-check"]
)
@pytest.mark.parametrize("new", range(8))
@pytest.mark.parametrize("old", range(8))
def test_every_cpu_sees_the_new_rights(old: int, new: int, policy: str) -> None:
    """After the return each kind of access on each CPU succeeds iff the region allows it, whatever was cached."""
    k = kernel_with(old, policy)
    for cpu in (0, 1):
        for name in KINDS:
            k.access(cpu, name)
    k.run(0, "mprotect", 0, 1, new)

    for cpu in (0, 1):
        for name, kind in KINDS.items():
            assert (k.access(cpu, name) != "ACCERR") == allowed(new, kind)


def test_v1_denies_a_fetch_that_it_has_just_allowed() -> None:
    """The posted series skips the flush for NX cleared, and Linux's fault handler signals the stale fetch."""
    k = kernel_with(R, "v1")
    k.read(1)
    k.run(0, "mprotect", 0, 1, R | X)

    with pytest.raises(Violation, match="denied-though-allowed"):
        k.fetch(1)
    assert k.shown() == "ACCERR"


def test_prot_none_is_protnone() -> None:
    """Without rights an entry keeps its frame and has ACCESSED and PROTNONE, and neither PRESENT nor USER nor RW."""
    k = kernel_with(0)

    assert k.pte() & (PRESENT | USER | RW | NX) == 0
    assert k.pte() & (PROTNONE | ACCESSED) == PROTNONE | ACCESSED
    assert k.w.refs[k.frame()] == 1


@pytest.mark.parametrize("rights", range(8))
def test_the_protection_of_a_region(rights: int) -> None:
    """vm_page_prot always has ACCESSED, has RW only for shared writable regions, and grants nothing without rights.

    If soft-dirty tracking waits for the first store of each page, a shared region has no RW either.
    """
    usable = PRESENT | USER | ACCESSED | (0 if rights & X else NX)
    shared = VM_SHARED | rights

    assert page_prot(rights) == (usable if rights else ACCESSED | PROTNONE)
    assert page_prot(shared | VM_SOFTDIRTY) == page_prot(rights) | (RW if rights & W else 0)
    assert page_prot(shared) == page_prot(rights)


def test_the_order_of_steps() -> None:
    """Region, gather, PTL, exchange and commit for each page, unlock, flush, and pending falls after the flush."""
    k = kernel_with(R | W)
    k.write(0, 1)
    k.read(1)

    assert k.run(0, "mprotect", 0, 2, R) == [
        "mmap_write_lock, mprotect_fixup",
        "tlb_gather_mmu",
        "change_pmd_range",
        "pte_lock, flush_tlb_batched_pending",
        "ptep_modify_prot_start",
        "ptep_modify_prot_commit",
        "ptep_modify_prot_start",
        "ptep_modify_prot_commit",
        "pte_unlock",
        "tlb_finish_mmu",
        *FLUSH,
        "dec_tlb_flush_pending",
        "mmap_write_unlock, return",
    ]


def test_the_entry_is_zero_between_exchange_and_commit() -> None:
    """The old value is taken out with one exchange; until the commit a walk finds nothing."""
    k = kernel_with(R | W)
    k.start(0, "mprotect", 0, 1, R, past="ptep_modify_prot_start")

    assert k.pte() == 0
    assert k.next(0) == "ptep_modify_prot_commit"


def test_the_decision_uses_what_the_exchange_returned() -> None:
    """A DIRTY bit that the hardware sets before the exchange survives the change (linux-tlb G.5)."""
    k = kernel_with(R | W)
    k.run(0, "free")
    k.start(0, "mprotect", 0, 1, R, until="ptep_modify_prot_start")
    assert not k.pte() & DIRTY
    k.write(1)
    k.finish(0)

    assert k.pte() & DIRTY


def test_a_window_is_open_until_the_flush() -> None:
    """A store through an old entry still succeeds between the commit and the flush, and its effect stays."""
    k = kernel_with(R | W)
    k.write(1)
    k.start(0, "mprotect", 0, 1, R, until="flush_tlb_mm_range")
    value = k.write(1)
    k.finish(0)

    assert k.read(0) == value
    assert k.write(1) == "ACCERR"


def test_what_pte_modify_keeps() -> None:
    """Frame, caching, special, ACCESSED, DIRTY, soft-dirty and userfaultfd's mark survive; rights do not."""
    assert KEPT & ~PFN_MASK == 0xEF8
    assert not KEPT & (PRESENT | RW | USER | PROTNONE | NX)


def test_rights_that_stay_the_same_change_nothing() -> None:
    """A region that already has the requested rights is left out: no gather, no change."""
    k = kernel_with(R)

    assert "tlb_gather_mmu" not in k.run(0, "mprotect", 0, 4, R)


def test_only_the_pages_that_change_are_walked() -> None:
    """In a range with two rights, the pages that already have the new ones are skipped."""
    k = kernel_with(R | W)
    k.run(0, "mprotect", 1, 2, R)
    k.journal.visited.clear()
    k.run(0, "mprotect", 0, 4, R)

    assert [visit[2] for visit in k.journal.visited] == [0, 3]


def test_the_first_hole_ends_the_change() -> None:
    """As with ENOMEM, the pages before a hole are changed, and those after it are not."""
    k = kernel_with(R | W)
    k.run(0, "munmap", 1, 1)
    k.run(0, "mprotect", 0, 4, R)

    assert [vma & VM_RIGHTS for vma in k.w.vma[0][:4]] == [R, 0, R | W, R | W]


def test_each_page_is_visited_with_the_rights_that_it_loses() -> None:
    """Every page of the range counts, populated or not, and denies exactly what its region lost."""
    k = Kernel(layout="empty")
    k.run(0, "mmap", 0, 1, prot(R | W))
    k.run(0, "mmap", 1, 1, prot(R | X))
    k.run(0, "mmap", 2, 1, prot(R))
    k.read(0)
    k.run(0, "mprotect", 0, 3, X)

    assert [visit[1:] for visit in k.journal.visited[-3:]] == [(0, 0, W), (0, 1, 0), (0, 2, 0)]


def test_without_a_table_each_page_is_visited() -> None:
    """A range that was never touched needs no flush, and still says what it denies."""
    k = Kernel()
    names = k.run(0, "mprotect", 0, 4, 0)

    assert "flush_tlb_mm_range" not in names
    assert not any(name.startswith("pte_lock") for name in names)
    assert [visit[1:] for visit in k.journal.visited] == [(0, page, R | W) for page in range(4)]


def test_rw_comes_back_for_an_exclusive_page() -> None:
    """can_change_pte_writable: a private page with one reference gets RW at once, without a fault."""
    k = kernel_with(R)
    k.run(0, "mprotect", 0, 1, R | W)

    assert k.pte() & RW


def test_rw_does_not_come_back_for_a_page_shared_with_a_child() -> None:
    """After fork RW is left to the copy-on-write fault."""
    k = kernel_with(R)
    k.run(0, "fork")
    k.run(0, "mprotect", 0, 1, R | W)

    assert not k.pte() & RW


def test_rw_does_not_come_to_the_zero_page() -> None:
    """The zero page is never mapped writable."""
    k = Kernel(layout="readonly")
    k.read(0)
    k.run(0, "mprotect", 0, 1, R | W)

    assert not k.pte() & RW


def test_rw_does_not_come_back_for_a_write_protected_page() -> None:
    """A page that userfaultfd tracks stays write-protected through mprotect."""
    k = written()
    k.run(0, "uffd_register")
    k.run(0, "uffd_wp")
    for rights in (R, R | W):
        k.run(0, "mprotect", 0, 1, rights)

    assert not k.pte() & RW
    assert k.write(0) == "userfaultfd"


def test_a_shared_page_gets_rw_back() -> None:
    """A shared region's page is writable whenever its region is."""
    k = written(layout="shared")
    k.run(0, "mprotect", 0, 1, R)
    assert not k.pte() & RW
    k.run(0, "mprotect", 0, 1, R | W)

    assert k.pte() & RW


def test_a_migration_entry_is_changed_in_place() -> None:
    """An entry under migration loses its write mark and is not recorded in the gather."""
    k = written()
    k.start(1, "migrate", until="folio_migrate_copy")
    assert k.pte() & MIGRATION_WRITE
    names = k.run(0, "mprotect", 0, 1, R)

    assert not k.pte() & MIGRATION_WRITE
    assert "ptep_modify_prot_commit" not in names
    k.finish(1)
    assert not k.pte() & RW


def test_the_flush_of_a_migration_is_not_left_behind() -> None:
    """A protection change of an entry whose unmapping is not flushed yet flushes first (3ea277194daa)."""
    k = written()
    k.start(1, "migrate", until="flush before copy")
    assert k.cached(0)
    names = k.run(0, "mprotect", 0, 1, R)

    assert names.index("flush_tlb_mm_range") < names.index("ptep_modify_prot_start")
    assert not k.cached(0)
    assert k.write(0) == "ACCERR"
