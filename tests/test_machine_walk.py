"""Page walks: what they grant, what they set in memory, what they fault with."""

import itertools

import pytest

from shootdown.machine.entry import ACCESSED, DIRTY, EXEC, NX, PRESENT, PSE, READ, RW, USER, WRITE
from shootdown.machine.geometry import FRAME_BITS
from shootdown.machine.x86 import NO_ROOT, PF_INSTR, PF_PROT, PF_USER, PF_WRITE
from tests.paging import (
    DATA,
    HUGE,
    LEAF,
    OTHER,
    PCID,
    ROOT,
    TABLE,
    cached,
    cached_huge,
    cached_upper,
    frame_in,
    leaf_of,
    machine_with,
    machine_with_huge,
    set_leaf,
    set_upper,
)

RIGHTS = [sum(bits) for n in range(4) for bits in itertools.combinations((RW, USER, NX), n)]
CODES = {READ: 0, WRITE: PF_WRITE, EXEC: PF_INSTR}


def grants(rights: int, kind: int) -> bool:
    """Return what one level says: USER for all, RW for stores, no NX for fetches."""
    if not rights & USER:
        return False
    return bool(rights & RW) if kind == WRITE else kind == READ or not rights & NX


@pytest.mark.parametrize("kind", [READ, WRITE, EXEC])
@pytest.mark.parametrize("upper", RIGHTS)
@pytest.mark.parametrize("leaf", RIGHTS)
def test_rights_are_combined_over_levels(leaf: int, upper: int, kind: int) -> None:
    """An access is allowed iff both levels allow it: RW and USER are ANDed, NX is ORed (SDM 4.6)."""
    m = machine_with(PRESENT | leaf, upper=PRESENT | upper)

    result = m.access(0, 0, kind)

    if grants(leaf, kind) and grants(upper, kind):
        assert frame_in(result) == DATA
    else:
        assert result == -(PF_USER | PF_PROT | CODES[kind])


@pytest.mark.parametrize("kind", [READ, WRITE, EXEC])
@pytest.mark.parametrize("leaf", RIGHTS)
def test_a_huge_leaf_decides_alone(leaf: int, kind: int) -> None:
    """A leaf of 2 MiB allows what its own bits allow."""
    m = machine_with_huge(PRESENT | leaf)

    assert (m.access(0, 0, kind) >= 0) == grants(leaf, kind)


@pytest.mark.parametrize("kind", [READ, WRITE, EXEC])
def test_an_absent_leaf_faults_without_the_protection_bit(kind: int) -> None:
    """The error code of a fault for an entry that is not present has bit 0 clear."""
    m = machine_with(RW | USER)

    assert m.access(0, 0, kind) == -(PF_USER | CODES[kind])


@pytest.mark.parametrize("kind", [READ, WRITE, EXEC])
def test_an_absent_table_faults_without_the_protection_bit(kind: int) -> None:
    """The same holds for an entry of the upper level."""
    m = machine_with(LEAF, upper=0)

    assert m.access(0, 0, kind) == -(PF_USER | CODES[kind])


def test_no_root_faults() -> None:
    """A CPU without a page table has no translation, and fills none."""
    m = machine_with(LEAF)
    m.load_cr3(0, NO_ROOT, PCID, noflush=False)
    m.fill(0, 0)

    assert m.access(0, 0, READ) == -PF_USER
    assert m.tlb[0] == {}


@pytest.mark.parametrize(
    ("kind", "set_bits"), [(READ, ACCESSED), (EXEC, ACCESSED), (WRITE, ACCESSED | DIRTY)]
)
def test_a_walk_sets_accessed_and_a_store_dirty(kind: int, set_bits: int) -> None:
    """ACCESSED is set at both levels, DIRTY in the leaf only and by a store only."""
    m = machine_with(LEAF)
    m.access(0, 0, kind)

    assert leaf_of(m) & (ACCESSED | DIRTY) == set_bits
    assert m.read_entry(ROOT, 0) & (ACCESSED | DIRTY) == ACCESSED


@pytest.mark.parametrize(
    ("kind", "set_bits"), [(READ, ACCESSED), (EXEC, ACCESSED), (WRITE, ACCESSED | DIRTY)]
)
def test_a_huge_leaf_gets_accessed_and_dirty(kind: int, set_bits: int) -> None:
    """A leaf of 2 MiB has its own ACCESSED and DIRTY."""
    m = machine_with_huge(LEAF)
    m.access(0, 0, kind)

    assert m.read_entry(ROOT, 0) & (ACCESSED | DIRTY) == set_bits


def test_a_denied_store_leaves_no_dirty_bit() -> None:
    """A walk that faults sets no DIRTY."""
    m = machine_with(PRESENT | USER)
    m.access(0, 0, WRITE)

    assert not leaf_of(m) & DIRTY


@pytest.mark.parametrize("page", range(4))
def test_a_huge_leaf_maps_four_frames(page: int) -> None:
    """Page i of a leaf of 2 MiB is frame i of its block, on the walk and on the hit after it."""
    m = machine_with_huge(LEAF)

    assert frame_in(m.access(0, page, READ)) == HUGE + page
    assert frame_in(m.access(0, page, WRITE)) == HUGE + page
    assert frame_in(m.access(0, page, WRITE)) == HUGE + page


def test_one_huge_entry_serves_all_its_pages() -> None:
    """After one page of it was walked, the other pages of a huge leaf hit although memory has lost it."""
    m = machine_with_huge(LEAF)
    m.access(0, 1, READ)
    m.write_entry(ROOT, 0, 0)

    assert [frame_in(m.access(0, page, READ)) for page in range(4)] == [HUGE + i for i in range(4)]
    assert cached(m, 1) is None
    assert cached_huge(m) is not None


def test_a_walk_fills_the_tlb_and_the_upper_cache() -> None:
    """After a walk both levels are cached, under the current PCID."""
    m = machine_with(LEAF)
    m.access(0, 0, READ)

    assert cached(m) is not None
    assert cached_upper(m) is not None


def test_a_huge_leaf_is_no_upper_entry() -> None:
    """A leaf of 2 MiB goes to the TLB and not to the paging-structure cache."""
    m = machine_with_huge(LEAF)
    m.access(0, 0, READ)

    assert m.psc[0] == {}


def test_a_faulting_walk_caches_nothing() -> None:
    """An entry that is not present, or denies the access, is not cached (SDM 4.10.2.3)."""
    m = machine_with(PRESENT | USER)
    m.access(0, 0, WRITE)
    m.access(0, 1, READ)

    assert m.tlb[0] == {}


def test_an_entry_keeps_the_rights_of_its_walk() -> None:
    """The rights that a walk combined stay granted after memory has lost them: a hit does not read memory."""
    m = machine_with(LEAF)
    m.access(0, 0, WRITE)
    set_leaf(m, 0, frame=OTHER)
    set_upper(m, 0)

    assert [frame_in(m.access(0, 0, kind)) for kind in (READ, WRITE, EXEC)] == [DATA] * 3


def test_a_hit_sets_no_accessed_bit() -> None:
    """Once cached, a page is used without setting ACCESSED again (SDM 4.10.4.3)."""
    m = machine_with(LEAF | DIRTY)
    m.access(0, 0, READ)
    set_leaf(m, LEAF | DIRTY)
    m.access(0, 0, WRITE)

    assert not leaf_of(m) & ACCESSED


def test_a_walk_below_a_cached_upper_entry_reads_its_table() -> None:
    """A walk starts from the paging-structure cache: it reads the old table although memory names a new one."""
    m = machine_with(LEAF)
    m.access(0, 0, READ)
    m.poison(OTHER, 0)
    set_upper(m, PRESENT | RW | USER, frame=OTHER)
    set_leaf(m, LEAF, page=1, frame=DATA)

    assert frame_in(m.access(0, 1, READ)) == DATA


def test_a_cached_upper_entry_limits_the_rights() -> None:
    """Rights that the table entry gained since it was cached are missing until the cache loses it."""
    m = machine_with(LEAF, upper=PRESENT | USER)
    m.access(0, 0, READ)
    set_upper(m, PRESENT | RW | USER)
    m.evict(0, 0)

    assert m.access(0, 0, WRITE) == -(PF_USER | PF_WRITE | PF_PROT)
    assert frame_in(m.access(0, 0, WRITE)) == DATA


def test_the_second_table_is_separate() -> None:
    """Page 4 is translated by the second entry of the root."""
    m = machine_with(LEAF)
    m.write_entry(ROOT, 1, FRAME_BITS[TABLE] | PRESENT | USER)

    assert frame_in(m.access(0, 4, READ)) == DATA
    assert m.access(0, 4, WRITE) == -(PF_USER | PF_WRITE | PF_PROT)
    assert frame_in(m.access(0, 0, WRITE)) == DATA


def test_pse_without_present_is_no_leaf() -> None:
    """An invalidated huge entry translates nothing."""
    m = machine_with_huge(RW | USER)

    assert m.read_entry(ROOT, 0) & PSE
    assert m.access(0, 0, READ) == -PF_USER
