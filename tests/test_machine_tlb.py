"""The TLB: tags, global entries, speculation and eviction."""

import pytest

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    EXEC,
    GLOBAL,
    NX,
    PRESENT,
    PSE,
    READ,
    RW,
    USER,
    WRITE,
)
from shootdown.machine.geometry import FRAME_BITS
from shootdown.machine.x86 import PF_PROT, PF_USER, PF_WRITE
from tests.paging import (
    DATA,
    HUGE,
    LEAF,
    OTHER,
    PCID,
    ROOT,
    SPARE_TABLE,
    TABLE,
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


def test_an_entry_belongs_to_one_cpu() -> None:
    """A CPU never hits what another one has cached."""
    m = machine_with(LEAF, cpus=2)
    m.access(0, 0, READ)
    set_leaf(m, 0)

    assert frame_in(m.access(0, 0, READ)) == DATA
    assert m.access(1, 0, READ) == -PF_USER


def test_an_entry_belongs_to_one_pcid() -> None:
    """Under another PCID the same page is walked anew, and the old entry is still there on return."""
    m = machine_with(LEAF)
    m.access(0, 0, READ)
    set_leaf(m, LEAF, frame=OTHER)
    m.load_cr3(0, ROOT, PCID + 1, noflush=True)

    assert frame_in(m.access(0, 0, READ)) == OTHER
    m.load_cr3(0, ROOT, PCID, noflush=True)
    assert frame_in(m.access(0, 0, READ)) == DATA


def test_an_upper_entry_belongs_to_one_pcid() -> None:
    """A walk uses only paging-structure entries of the current PCID."""
    m = machine_with(LEAF)
    m.access(0, 0, READ)
    set_upper(m, TABLE_ENTRY, frame=SPARE_TABLE)
    m.load_cr3(0, ROOT, PCID + 1, noflush=True)

    assert m.access(0, 0, READ) == -PF_USER


def test_a_global_entry_serves_every_pcid() -> None:
    """A page with GLOBAL is hit under a PCID that never walked it (SDM 4.10.2.4)."""
    m = machine_with(LEAF | GLOBAL)
    m.access(0, 0, READ)
    set_leaf(m, 0)
    m.load_cr3(0, ROOT, PCID + 1, noflush=False)

    assert frame_in(m.access(0, 0, READ)) == DATA


def test_a_global_huge_entry_serves_every_pcid() -> None:
    """The same for a leaf of 2 MiB: loading CR3 does not remove it."""
    m = machine_with_huge(LEAF | GLOBAL)
    m.access(0, 0, READ)
    m.write_entry(ROOT, 0, 0)
    m.load_cr3(0, ROOT, PCID + 1, noflush=False)

    assert frame_in(m.access(0, 2, READ)) == HUGE + 2


def test_global_has_no_effect_above_the_leaf() -> None:
    """The GLOBAL bit of a table entry makes nothing global (SDM 4.10.3)."""
    m = machine_with(LEAF, upper=TABLE_ENTRY | GLOBAL)
    m.access(0, 0, READ)
    set_upper(m, 0)
    m.load_cr3(0, ROOT, PCID + 1, noflush=False)

    assert m.access(0, 0, READ) == -PF_USER


def test_a_fill_caches_what_the_tables_grant() -> None:
    """A speculative fill makes the entry that a load would have made, and sets ACCESSED at both levels."""
    filled, loaded = machine_with(LEAF), machine_with(LEAF)
    filled.fill(0, 0)
    loaded.access(0, 0, READ)

    assert filled.tlb == loaded.tlb
    assert filled.psc == loaded.psc
    assert leaf_of(filled) & ACCESSED
    assert filled.read_entry(ROOT, 0) & ACCESSED


@pytest.mark.parametrize("leaf", [LEAF, LEAF | DIRTY, PRESENT | USER])
def test_a_fill_sets_no_dirty_bit(leaf: int) -> None:
    """A speculative fill leaves DIRTY as it is (APM 5.5), in memory and in the entry."""
    m = machine_with(leaf)
    m.fill(0, 0)
    entry = cached(m)

    assert entry is not None
    assert leaf_of(m) & DIRTY == leaf & DIRTY == entry & DIRTY


def test_a_fill_below_an_absent_leaf_caches_the_upper_entry() -> None:
    """A table entry may be cached although no leaf below it is valid (SDM 4.10.3)."""
    m = machine_with(0)
    m.fill(0, 0)

    assert m.tlb[0] == {}
    assert cached_upper(m) is not None


@pytest.mark.parametrize("act", ["fill", "read"])
def test_nothing_of_a_supervisor_leaf_is_accessed_by_user_code(act: str) -> None:
    """A walk that USER refuses sets ACCESSED in no leaf, of either size, and caches no translation (SDM 4.8)."""
    for m in (machine_with(PRESENT | RW), machine_with_huge(PRESENT | RW)):
        if act == "fill":
            m.fill(0, 0)
        else:
            assert m.access(0, 0, READ) < 0

        assert m.tlb[0] == {}
        assert not leaf_of(m) & ACCESSED
        assert not (m.read_entry(ROOT, 0) & ACCESSED and m.read_entry(ROOT, 0) & PSE)


def test_a_fill_below_an_absent_table_does_nothing() -> None:
    """An entry that is not present is never cached, at any level."""
    m = machine_with(LEAF, upper=0)
    m.fill(0, 0)

    assert m.tlb[0] == {}
    assert m.psc[0] == {}


def test_a_fill_uses_the_cached_upper_entry() -> None:
    """Speculation walks a table that memory no longer names, so a freed table can be walked."""
    m = machine_with(LEAF)
    m.access(0, 0, READ)
    set_upper(m, 0)
    set_leaf(m, LEAF, page=1, frame=OTHER)
    m.fill(0, 1)

    assert frame_in(m.access(0, 1, READ)) == OTHER


def test_a_fill_leaves_a_cached_entry_alone() -> None:
    """A cached entry stays: a fill does not refresh it, at either size."""
    m = machine_with(LEAF)
    m.access(0, 0, READ)
    set_leaf(m, LEAF, frame=OTHER)
    m.fill(0, 0)

    assert frame_in(m.access(0, 0, READ)) == DATA


@pytest.mark.parametrize("index", [0, 1])
def test_a_fill_leaves_a_cached_huge_entry_alone(index: int) -> None:
    """A page that a huge entry covers is not filled again, even from a table that memory has now."""
    m = machine_with(LEAF)
    m.write_entry(ROOT, index, FRAME_BITS[HUGE] | LEAF | PSE)
    m.access(0, index * 4, READ)
    m.write_entry(ROOT, index, FRAME_BITS[TABLE] | TABLE_ENTRY)
    m.fill(0, index * 4)

    assert cached(m, index * 4) is None
    assert cached_huge(m, index * 4) is not None


def test_a_fill_combines_all_rights() -> None:
    """A fill combines RW, USER and NX over the levels as a walk does, so a denied access stays denied after it."""
    for upper in (PRESENT | USER, PRESENT | RW, TABLE_ENTRY | NX):
        for kind in (READ, WRITE, EXEC):
            filled, fresh = machine_with(LEAF, upper=upper), machine_with(LEAF, upper=upper)
            filled.fill(0, 0)

            assert (filled.access(0, 0, kind) < 0) == (fresh.access(0, 0, kind) < 0), (upper, kind)


def test_a_fill_of_a_huge_leaf_makes_one_entry() -> None:
    """Speculation caches a leaf of 2 MiB whole."""
    m = machine_with_huge(PRESENT | USER)
    m.fill(0, 3)
    m.write_entry(ROOT, 0, 0)

    assert frame_in(m.access(0, 0, READ)) == HUGE
    assert m.access(0, 0, WRITE) == -(PF_USER | PF_WRITE | PF_PROT)


def test_an_eviction_drops_one_entry() -> None:
    """An eviction removes the page's own entry and nothing else."""
    m = machine_with(LEAF)
    set_leaf(m, LEAF, page=1, frame=OTHER)
    m.access(0, 0, READ)
    m.access(0, 1, READ)
    m.evict(0, 0)

    assert cached(m, 0) is None
    assert cached(m, 1) is not None
    assert cached_upper(m) is not None


def test_an_eviction_drops_a_huge_entry() -> None:
    """If only a huge entry covers the page, that entry is dropped."""
    m = machine_with_huge(LEAF)
    m.access(0, 0, READ)
    m.evict(0, 3)

    assert cached_huge(m) is None


def test_an_eviction_drops_a_global_entry() -> None:
    """A global entry can be evicted like any other (linux-tlb D.3 rule 5)."""
    m = machine_with(LEAF | GLOBAL)
    m.access(0, 0, READ)
    m.evict(0, 0)

    assert m.tlb[0] == {}


def test_stores_to_the_tables_change_no_entry() -> None:
    """Writing or poisoning a table removes nothing that is cached (linux-tlb D.3 rule 7)."""
    m = machine_with(LEAF, cpus=2)
    m.access(0, 0, READ)
    m.access(1, 0, WRITE)
    tlb, psc = [dict(e) for e in m.tlb], [dict(e) for e in m.psc]
    set_leaf(m, 0)
    set_upper(m, 0)
    m.poison(ROOT, 0)

    assert m.tlb == tlb
    assert m.psc == psc


def test_both_sizes_can_be_cached_at_once() -> None:
    """A page keeps its 4 KiB entry beside a huge one that memory has now (linux-tlb E.2 entry 25)."""
    m = machine_with(LEAF)
    m.access(0, 0, READ)
    m.invpcid_page(0, PCID, 1)
    m.write_entry(ROOT, 0, FRAME_BITS[HUGE] | LEAF | PSE)
    m.access(0, 1, READ)

    assert frame_in(m.access(0, 0, READ)) == DATA
    assert frame_in(m.access(0, 1, READ)) == HUGE + 1
