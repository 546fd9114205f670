"""Behaviour of the processor that one rule makes possible, and that cannot happen with the rule off.

Each test computes all states that the hardware's own choices can lead to, and checks whether one of them shows the
behaviour.
"""

from collections.abc import Callable, Iterable

import pytest

from shootdown.machine.caches import BOTH, FETCH, OF_FETCHES, TRANSLATION, UPPER
from shootdown.machine.entry import ACCESSED, DIRTY, EXEC, GLOBAL, PRESENT, PSE, READ, USER, WRITE
from shootdown.machine.geometry import FRAME_BITS
from shootdown.machine.x86 import PF_USER, PF_WRITE, Machine
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
    frame_in,
    leaf_of,
    machine_with,
    machine_with_huge,
    set_leaf,
    set_upper,
)

NEW_HUGE = HUGE + 4
EVERY = (TRANSLATION, UPPER, BOTH, OF_FETCHES)


def states(
    m: Machine, *, pages: Iterable[int] = (0,), evictions: Iterable[int] = EVERY
) -> list[Machine]:
    """Return all that fills and evictions on CPU 0 can make of a machine, itself included."""
    met = {m.key(): m}
    todo = [m]
    while todo:
        now = todo.pop()
        for page in pages:
            choices = [(True, fetch) for fetch in (0, 1)] + [(False, what) for what in evictions]
            for fills, what in choices:
                copy = now.copy()
                if fills:
                    copy.fill(0, page, what)
                else:
                    copy.evict(0, page, what)
                if copy.key() not in met:
                    met[copy.key()] = copy
                    todo.append(copy)
    return list(met.values())


def shows(m: Machine, *accesses: tuple[int, int, int]) -> bool:
    """Return whether accesses of (page, kind), one after another, use these frames."""
    copy = m.copy()
    for page, kind, frame in accesses:
        entry = copy.access(0, page, kind)
        if entry < 0 or entry >> 8 & 63 != frame:
            return False
    return True


def any_shows(met: list[Machine], *accesses: tuple[int, int, int]) -> bool:
    """Return whether one of the states shows the accesses."""
    return any(shows(m, *accesses) for m in met)


# Two TLBs.


@pytest.mark.parametrize("split_tlb", [True, False])
@pytest.mark.parametrize(("old", "new"), [(READ, EXEC), (EXEC, READ)])
def test_a_fresh_translation_beside_a_stale_one_of_the_same_page(
    old: int, new: int, *, split_tlb: bool
) -> None:
    """A CPU may load from one frame and fetch from another one, again and again, if it has two TLBs."""
    m = machine_with(LEAF, split_tlb=split_tlb)
    m.access(0, 0, old)
    set_leaf(m, LEAF, frame=OTHER)

    shown = any_shows(states(m), (0, new, OTHER), (0, old, DATA), (0, new, OTHER))

    assert shown == split_tlb


def drop_by_invlpg(m: Machine) -> None:
    """Execute INVLPG for page 1."""
    m.invlpg(0, 1)


def drop_by_invpcid(m: Machine) -> None:
    """Execute INVPCID for page 1."""
    m.invpcid_page(0, PCID, 1)


def drop_by_context(m: Machine) -> None:
    """Execute INVPCID for everything."""
    m.invpcid_context(0, PCID)


def drop_by_broadcast(m: Machine) -> None:
    """Execute INVLPGB for page 1, and wait for it."""
    m.invlpgb(0, PCID, 1)
    m.tlbsync(0)


def drop_by_eviction(m: Machine) -> None:
    """Evict everything that an invalidation of page 1 drops."""
    m.evict(0, 1, BOTH)


def drop_by_a_fault(m: Machine) -> None:
    """Make a denied store to page 1."""
    assert m.access(0, 1, WRITE) < 0


DROPS: tuple[Callable[[Machine], None], ...] = (
    drop_by_invlpg,
    drop_by_invpcid,
    drop_by_context,
    drop_by_broadcast,
    drop_by_eviction,
    drop_by_a_fault,
)


@pytest.mark.parametrize("drop", DROPS)
def test_both_tlbs_are_invalidated(drop: Callable[[Machine], None]) -> None:
    """An event that drops the translation of a page also drops that for fetches."""
    m = machine_with(0, split_tlb=True)
    set_leaf(m, PRESENT | USER, page=1, frame=DATA)
    for kind in (READ, EXEC):
        m.access(0, 1, kind)
    assert len(m.tlb[0]) == 2

    drop(m)

    assert m.tlb[0] == {}


def test_a_fill_and_an_eviction_say_for_which_tlb() -> None:
    """Each TLB is filled and evicted separately; a store needs its own translation beside that of a fetch."""
    m = machine_with(LEAF, split_tlb=True)
    m.fill(0, 0, 1)
    assert list(m.tlb[0]) == [FETCH | PCID << 4]
    m.fill(0, 0)
    assert len(m.tlb[0]) == 2
    m.evict(0, 0)
    assert list(m.tlb[0]) == [FETCH | PCID << 4]
    m.evict(0, 0, OF_FETCHES)
    assert m.tlb[0] == {}

    m.access(0, 0, EXEC)
    set_leaf(m, 0)
    assert m.access(0, 0, WRITE) < 0


def test_with_one_tlb_a_fetch_and_a_load_share_a_translation() -> None:
    """Then a fill or an eviction for fetches is like any other."""
    m = machine_with(LEAF)
    m.fill(0, 0, 1)
    assert list(m.tlb[0]) == [PCID << 4]
    m.evict(0, 0, OF_FETCHES)
    assert m.tlb[0] == {}


def test_global_translations_have_two_tlbs_too() -> None:
    """A global translation of a fetch serves no load, and loading CR3 drops neither."""
    m = machine_with(LEAF | GLOBAL, split_tlb=True)
    m.access(0, 0, EXEC)
    set_leaf(m, LEAF | GLOBAL, frame=OTHER)
    m.access(0, 0, READ)
    m.load_cr3(0, ROOT, PCID + 1, noflush=False)

    assert shows(m, (0, EXEC, DATA), (0, READ, OTHER))
    m.invlpg(0, 0)
    assert m.tlb[0] == {}


# Pieces of 4 KiB.


@pytest.mark.parametrize("fractured", [True, False])
def test_stale_and_fresh_pieces_stand_side_by_side(*, fractured: bool) -> None:
    """A CPU that caches pieces may use the old translation for one page of a leaf of 2 MiB and the new one
    for another.

    The source is SDM 4.10.2.3.
    """
    m = machine_with_huge(LEAF, fractured=fractured)
    m.access(0, 0, READ)
    m.write_entry(ROOT, 0, FRAME_BITS[NEW_HUGE] | PSE | LEAF)
    met = states(m, pages=(0, 1))

    old_and_new = ((0, READ, HUGE), (1, READ, NEW_HUGE + 1), (0, READ, HUGE))
    assert any_shows(met, *old_and_new) == fractured
    assert any_shows(met, (0, READ, HUGE), (0, READ, HUGE))


@pytest.mark.parametrize("drop", DROPS)
def test_what_drops_one_page_drops_all_pieces(drop: Callable[[Machine], None]) -> None:
    """It drops them as it drops the one translation (SDM 4.10.2.3); a translation of 4 KiB of another page stays."""
    m = machine_with_huge(PRESENT | USER, fractured=True)
    for page in (0, 1, 2):
        m.access(0, page, READ)
    m.write_entry(ROOT, 0, FRAME_BITS[TABLE] | TABLE_ENTRY)
    set_leaf(m, PRESENT | USER, page=3)
    m.access(0, 3, READ)
    assert len(m.tlb[0]) == 4

    drop(m)

    assert {key & 7 for key in m.tlb[0]} == (set() if drop is drop_by_context else {3})


def test_a_store_through_a_piece_sets_dirty_in_the_huge_leaf() -> None:
    """It also sets D in that piece only: the others walk again for their first store."""
    m = machine_with_huge(LEAF, fractured=True)
    for page in (1, 2):
        m.access(0, page, READ)

    assert frame_in(m.access(0, 2, WRITE)) == HUGE + 2
    assert m.read_entry(ROOT, 0) & DIRTY
    assert (cached(m, 2) or 0) & DIRTY
    assert not (cached(m, 1) or 0) & DIRTY
    assert cached_huge(m) is None


@pytest.mark.parametrize("small", [True, False])
def test_a_store_through_a_piece_of_a_page_that_is_split_now_traps(*, small: bool) -> None:
    """The walk that sets DIRTY treats a piece as a translation of 2 MiB, but memory has another one by now."""
    m = machine_with_huge(LEAF, fractured=True)
    m.access(0, 0, READ)
    if small:
        set_upper(m, TABLE_ENTRY)
        set_leaf(m, LEAF, frame=HUGE)
    else:
        m.write_entry(ROOT, 0, FRAME_BITS[NEW_HUGE] | PSE | LEAF)

    assert m.access(0, 0, WRITE) < 0
    assert not (leaf_of(m) | m.read_entry(ROOT, 0)) & DIRTY
    assert cached(m) is None


# Evictions of upper entries.


@pytest.mark.parametrize("evictions", [EVERY, (TRANSLATION, BOTH), (TRANSLATION, OF_FETCHES)])
def test_an_old_translation_beside_what_the_new_table_has(evictions: tuple[int, ...]) -> None:
    """A CPU that has walked the old table for one page may walk the new one for another.

    This needs an eviction of the upper entry, but not of the translation.
    """
    m = machine_with(LEAF)
    m.access(0, 0, READ)
    m.write_entry(SPARE_TABLE, 1, FRAME_BITS[OTHER] | LEAF)
    set_upper(m, TABLE_ENTRY, frame=SPARE_TABLE)

    shown = any_shows(
        states(m, pages=(0, 1), evictions=evictions), (0, READ, DATA), (1, READ, OTHER)
    )

    assert shown == any(what in (UPPER, BOTH) for what in evictions)


def test_an_eviction_of_both_is_of_the_loaded_pcid() -> None:
    """Entries of another address space stay cached."""
    m = machine_with(LEAF)
    m.access(0, 0, READ)
    m.load_cr3(0, ROOT, PCID + 1, noflush=True)
    m.access(0, 0, READ)

    m.evict(0, 0, BOTH)

    assert [key >> 4 for key in m.tlb[0]] == [PCID]
    assert [key >> 1 for key in m.psc[0]] == [PCID]


# Invalidations that are carried out before their issuer waits.


@pytest.mark.parametrize("evictions", [EVERY, (TRANSLATION,), (UPPER,)])
def test_a_warm_cpu_has_the_old_translation_behind_the_wait(evictions: tuple[int, ...]) -> None:
    """This needs an invalidation before the change, which the CPU carries out before it caches the page again.

    The scenario makes the CPU carry it out by an eviction of the translation and of the upper entry.
    """
    m = machine_with(LEAF, cpus=2)
    m.access(0, 0, READ)
    m.invlpgb(1, PCID, 0)
    met = states(m, evictions=evictions)
    for each in met:
        set_leaf(each, 0)
        each.tlbsync(1)

    assert any_shows(met, (0, READ, DATA)) == (evictions == EVERY)


@pytest.mark.parametrize("fractured", [True, False])
@pytest.mark.parametrize("split_tlb", [True, False])
def test_a_broadcast_behind_the_change_leaves_nothing(*, fractured: bool, split_tlb: bool) -> None:
    """Whatever the hardware does between issue and wait, and whatever it caches, no access uses the old frame."""
    switches = {"fractured": fractured, "split_tlb": split_tlb}
    huge = machine_with_huge(LEAF, cpus=2, **switches)
    small = machine_with(LEAF, cpus=2, **switches)
    for m in (huge, small):
        for kind in (READ, EXEC):
            m.access(0, 0, kind)
        if m is huge:
            m.access(0, 1, READ)
            m.write_entry(ROOT, 0, FRAME_BITS[NEW_HUGE] | PSE | LEAF | ACCESSED)
        else:
            set_leaf(m, LEAF | ACCESSED, frame=OTHER)
        m.invlpgb(1, PCID, 0)
        met = states(m, pages=(0, 1))
        for each in met:
            each.tlbsync(1)

        for kind in (READ, EXEC):
            assert not any_shows(met, (0, kind, HUGE if m is huge else DATA))
            assert any_shows(met, (0, kind, NEW_HUGE if m is huge else OTHER))


def test_no_fault_leaves_the_other_pieces() -> None:
    """On AMD an access that the walk from memory permits is no fault: other pieces of the leaf stay (APM 5.5.3)."""
    m = machine_with_huge(PRESENT | USER, amd=True, fractured=True)
    m.access(0, 1, READ)
    m.access(0, 2, READ)
    m.write_entry(ROOT, 0, FRAME_BITS[HUGE] | PSE | LEAF)
    m.access(0, 2, WRITE)
    m.write_entry(ROOT, 0, 0)

    assert [frame_in(m.access(0, page, READ)) for page in (1, 2)] == [HUGE + 1, HUGE + 2]
    assert m.access(0, 2, EXEC) > 0
    assert m.access(0, 3, READ) == -PF_USER
    assert m.access(0, 1, WRITE) == -(PF_USER | PF_WRITE)
    assert m.access(0, 2, READ) == -PF_USER
