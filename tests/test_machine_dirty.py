"""Stores through clean entries, and what a page fault itself invalidates, with each of the machine's switches."""

import pytest

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    EXEC,
    NX,
    PAT_LARGE,
    PKEY_SHIFT,
    PRESENT,
    PSE,
    READ,
    RW,
    USER,
    WRITE,
)
from shootdown.machine.geometry import FRAME_BITS
from shootdown.machine.pkru import NO_WRITE
from shootdown.machine.x86 import PF_INSTR, PF_PK, PF_PROT, PF_USER, PF_WRITE, Machine
from tests.paging import (
    DATA,
    HUGE,
    LEAF,
    OTHER,
    PCID,
    ROOT,
    TABLE_ENTRY,
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

DENIED_STORE = -(PF_USER | PF_WRITE | PF_PROT)
ABSENT_STORE = -(PF_USER | PF_WRITE)


def clean_entry(**switches: bool) -> Machine:
    """Return a machine that has the page cached as writable and clean."""
    m = machine_with(LEAF, **switches)
    m.access(0, 0, READ)
    return m


def test_the_first_store_sets_dirty_in_memory() -> None:
    """A store through a clean entry sets DIRTY in memory and in the entry."""
    m = clean_entry()
    entry = m.access(0, 0, WRITE)

    assert frame_in(entry) == DATA
    assert leaf_of(m) & DIRTY
    assert (cached(m) or 0) & DIRTY


def test_the_walk_that_sets_dirty_sets_accessed() -> None:
    """It uses both levels, so A is set in what it reads in memory (SDM 4.8); a cached upper entry is not read."""
    m = clean_entry()
    set_leaf(m, LEAF)
    set_upper(m, TABLE_ENTRY)
    m.access(0, 0, WRITE)
    assert (leaf_of(m) & ACCESSED, m.read_entry(ROOT, 0) & ACCESSED) == (ACCESSED, 0)

    m = clean_entry()
    set_upper(m, TABLE_ENTRY)
    m.psc[0].clear()
    m.access(0, 0, WRITE)
    assert m.read_entry(ROOT, 0) & ACCESSED


def test_a_dirty_entry_stores_silently() -> None:
    """A store through a dirty entry does not look at memory: an unmapped page takes it."""
    m = clean_entry()
    m.access(0, 0, WRITE)
    set_leaf(m, 0)

    assert frame_in(m.access(0, 0, WRITE)) == DATA
    assert leaf_of(m) == 0


def test_a_dirty_entry_does_not_set_a_cleared_bit_again() -> None:
    """DIRTY that is cleared in memory stays clear while an entry has it cached (SDM 4.10.4.3)."""
    m = clean_entry()
    m.access(0, 0, WRITE)
    set_leaf(m, LEAF)
    m.access(0, 0, WRITE)

    assert not leaf_of(m) & DIRTY


def test_a_store_to_an_unmapped_page_traps() -> None:
    """A store through a clean entry faults when memory has no present entry any more, and the entry goes."""
    m = clean_entry()
    set_leaf(m, 0)

    assert m.access(0, 0, WRITE) == ABSENT_STORE
    assert cached(m) is None
    assert leaf_of(m) == 0


def test_a_store_to_a_protected_page_traps() -> None:
    """The same happens when memory has lost RW; DIRTY stays clear."""
    m = clean_entry()
    set_leaf(m, PRESENT | USER)

    assert m.access(0, 0, WRITE) == DENIED_STORE
    assert cached(m) is None
    assert not leaf_of(m) & DIRTY


@pytest.mark.parametrize("level", ["leaf", "upper", "huge"])
@pytest.mark.parametrize("right", [RW, USER])
def test_every_level_must_permit_the_store(level: str, right: int) -> None:
    """The walk that sets DIRTY checks RW and USER at both levels, as any walk does (SDM 4.6.1); otherwise the store
    traps.
    """
    m = machine_with_huge(LEAF) if level == "huge" else clean_entry()
    m.access(0, 0, READ)
    m.psc[0].clear()
    if level == "leaf":
        set_leaf(m, LEAF & ~right)
    else:
        m.write_entry(ROOT, 0, m.read_entry(ROOT, 0) & ~right)

    assert m.access(0, 0, WRITE) == DENIED_STORE
    assert (cached(m), cached_huge(m)) == (None, None)
    assert not (leaf_of(m) | m.read_entry(ROOT, 0)) & DIRTY


def test_the_upper_entry_that_the_dirty_walk_asks_may_be_the_cached_one() -> None:
    """If RW was cleared only in memory, a walk through a cached upper entry still finds it (APM 5.5)."""
    m = clean_entry()
    m.write_entry(ROOT, 0, m.read_entry(ROOT, 0) & ~RW)

    assert frame_in(m.access(0, 0, WRITE)) == DATA
    assert leaf_of(m) & DIRTY


def test_a_key_that_memory_has_now_is_asked_too() -> None:
    """A store through a clean entry whose page has another key by now is checked against that key."""
    m = clean_entry()
    set_leaf(m, LEAF | 1 << PKEY_SHIFT)
    m.pkru[0] = NO_WRITE << 2

    assert m.access(0, 0, WRITE) == DENIED_STORE - PF_PK
    assert not leaf_of(m) & DIRTY


def test_a_store_to_a_replaced_page_traps() -> None:
    """The same happens when memory names another frame: neither frame's entry gets DIRTY, and the retry uses the new
    one.
    """
    m = clean_entry()
    set_leaf(m, LEAF, frame=OTHER)

    assert m.access(0, 0, WRITE) < 0
    assert not leaf_of(m) & DIRTY
    assert frame_in(m.access(0, 0, WRITE)) == OTHER


def test_a_store_through_a_small_entry_of_a_page_that_is_huge_now_traps() -> None:
    """An entry whose size differs from that in memory is not the same translation."""
    m = clean_entry()
    m.psc[0].clear()
    m.write_entry(ROOT, 0, FRAME_BITS[HUGE] | LEAF | PSE)

    assert m.access(0, 0, WRITE) < 0
    assert not m.read_entry(ROOT, 0) & DIRTY


def test_a_huge_entry_sets_dirty_in_its_leaf() -> None:
    """A store through a clean entry of 2 MiB sets DIRTY in the huge leaf, for any of its pages."""
    m = machine_with_huge(LEAF)
    m.access(0, 0, READ)

    assert frame_in(m.access(0, 2, WRITE)) == HUGE + 2
    assert m.read_entry(ROOT, 0) & DIRTY


def test_a_huge_leaf_with_pat_large_is_the_same_frame() -> None:
    """Bit 12 of a leaf of 2 MiB is a memory type: walk, hit and store through a clean entry ignore it as an address."""
    m = machine_with_huge(LEAF | PAT_LARGE)

    assert frame_in(m.access(0, 1, READ)) == HUGE + 1
    assert frame_in(m.access(0, 1, WRITE)) == HUGE + 1
    assert m.read_entry(ROOT, 0) & DIRTY


@pytest.mark.parametrize(
    "now", [0, FRAME_BITS[HUGE] | PSE | RW | USER, FRAME_BITS[HUGE] | PSE | PRESENT | USER]
)
def test_a_store_through_a_huge_entry_traps_too(now: int) -> None:
    """A clean huge entry faults when its leaf is gone, invalidated or read-only."""
    m = machine_with_huge(LEAF)
    m.access(0, 0, READ)
    m.write_entry(ROOT, 0, now)

    assert m.access(0, 1, WRITE) < 0
    assert cached_huge(m) is None
    assert m.read_entry(ROOT, 0) == now


def test_a_store_through_a_huge_entry_of_a_split_page_traps() -> None:
    """When a table stands in place of the huge leaf, a clean huge entry is not used for a store."""
    m = machine_with_huge(LEAF)
    m.access(0, 0, READ)
    set_upper(m, TABLE_ENTRY)

    assert m.access(0, 0, WRITE) < 0
    assert cached_huge(m) is None


def test_the_dirty_walk_may_use_a_cached_upper_entry() -> None:
    """DIRTY is set through a cached table entry, in a table that memory no longer names (APM 5.5)."""
    m = clean_entry()
    set_upper(m, 0)

    assert frame_in(m.access(0, 0, WRITE)) == DATA
    assert leaf_of(m) & DIRTY


def test_without_a_cached_upper_entry_the_dirty_walk_starts_at_the_root() -> None:
    """When the table entry is neither cached nor in memory, the store traps."""
    m = clean_entry()
    m.psc[0].clear()
    set_upper(m, 0)

    assert m.access(0, 0, WRITE) == ABSENT_STORE


def test_stray_dirty_marks_a_page_that_lost_rw() -> None:
    """Before CET a store that races with the clearing of RW faults and may still leave DIRTY (SDM 4.8)."""
    m = clean_entry(stray_dirty=True)
    set_leaf(m, PRESENT | USER)

    assert m.access(0, 0, WRITE) == DENIED_STORE
    assert leaf_of(m) & DIRTY


@pytest.mark.parametrize("leaf", [0, RW | USER])
def test_stray_dirty_marks_no_absent_entry(leaf: int) -> None:
    """A stray DIRTY needs an entry that is still present and of the same frame."""
    m = clean_entry(stray_dirty=True)
    set_leaf(m, leaf)
    before = leaf_of(m)
    m.access(0, 0, WRITE)

    assert leaf_of(m) == before


def test_stray_dirty_marks_no_other_frame() -> None:
    """A read-only entry of another frame gets no stray DIRTY."""
    m = clean_entry(stray_dirty=True)
    set_leaf(m, PRESENT | USER, frame=OTHER)
    m.access(0, 0, WRITE)

    assert not leaf_of(m) & DIRTY


def test_blind_dirty_stores_without_looking() -> None:
    """With the third switch a clean writable entry takes stores after its page was unmapped or protected."""
    for leaf in (0, PRESENT | USER):
        m = clean_entry(blind_dirty=True)
        set_leaf(m, leaf)

        assert frame_in(m.access(0, 0, WRITE)) == DATA
        assert (cached(m) or 0) & DIRTY


def test_blind_dirty_marks_memory_when_the_entry_is_still_there() -> None:
    """The switch removes only the check: DIRTY still reaches the entry in memory."""
    m = clean_entry(blind_dirty=True)
    m.access(0, 0, WRITE)

    assert leaf_of(m) & DIRTY


@pytest.mark.parametrize("kind", [WRITE, EXEC])
def test_a_denied_hit_faults_once(kind: int) -> None:
    """A tighter entry than memory has costs one fault, which drops it: the retry succeeds (SDM 4.10.4.3)."""
    m = machine_with(PRESENT | USER | NX)
    m.access(0, 0, READ)
    set_leaf(m, LEAF)

    assert m.access(0, 0, kind) == -(PF_USER | PF_PROT | (PF_WRITE if kind == WRITE else PF_INSTR))
    assert frame_in(m.access(0, 0, kind)) == DATA


def test_a_fault_drops_the_entries_of_its_page_only() -> None:
    """A page fault removes the page's entry and the table entry used for it; other pages and PCIDs keep theirs."""
    m = machine_with(PRESENT | USER)
    set_leaf(m, LEAF, page=1, frame=OTHER)
    m.access(0, 0, READ)
    m.access(0, 1, READ)
    m.load_cr3(0, ROOT, PCID + 1, noflush=True)
    m.access(0, 0, READ)
    m.access(0, 0, WRITE)

    assert cached(m, 0, pcid=PCID + 1) is None
    assert cached_upper(m, pcid=PCID + 1) is None
    assert cached(m, 0) is not None
    assert cached(m, 1) is not None
    assert cached_upper(m) is not None


def test_a_fault_on_a_walk_drops_the_upper_entry() -> None:
    """A walk that faults below a cached table entry drops that entry, so the retry reads memory."""
    m = machine_with(0)
    m.fill(0, 0)
    assert cached_upper(m) is not None
    m.access(0, 0, READ)

    assert cached_upper(m) is None


def test_a_fault_drops_a_huge_entry() -> None:
    """A denied access to one page of a huge entry removes the whole entry."""
    m = machine_with_huge(PRESENT | USER)
    m.access(0, 0, READ)
    m.access(0, 3, WRITE)

    assert cached_huge(m) is None


@pytest.mark.parametrize("kind", [WRITE, EXEC])
def test_amd_walks_again_before_it_faults(kind: int) -> None:
    """With the first switch a tighter entry than memory has costs no fault at all (APM 5.5)."""
    m = machine_with(PRESENT | USER | NX, amd=True)
    m.access(0, 0, READ)
    set_leaf(m, LEAF)

    assert frame_in(m.access(0, 0, kind)) == DATA
    assert leaf_of(m) & ACCESSED


def test_amd_faults_when_memory_denies_too() -> None:
    """The second walk decides: a right that memory lacks as well is denied."""
    m = machine_with(PRESENT | USER, amd=True)
    m.access(0, 0, READ)

    assert m.access(0, 0, WRITE) == DENIED_STORE


def test_amd_walks_again_before_a_dirty_fault() -> None:
    """A store through a clean entry of a replaced page reaches the new frame without a fault."""
    m = clean_entry(amd=True)
    set_leaf(m, LEAF, frame=OTHER)

    assert frame_in(m.access(0, 0, WRITE)) == OTHER
    assert leaf_of(m) & DIRTY


@pytest.mark.parametrize("kind", [READ, WRITE, EXEC])
def test_the_walk_that_confirms_a_fault_uses_no_cached_upper_entry(kind: int) -> None:
    """On AMD a denial that only a cached table entry causes is no fault: the confirming walk reads all of memory."""
    m = machine_with(0, upper=PRESENT | USER | NX, amd=True)
    m.fill(0, 0)
    set_upper(m, TABLE_ENTRY, frame=OTHER)
    m.poison(OTHER, 0)
    m.write_entry(OTHER, 0, FRAME_BITS[DATA] | LEAF)

    assert frame_in(m.access(0, 0, kind)) == DATA
