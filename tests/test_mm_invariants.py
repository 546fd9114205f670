"""Facts that hold in every world at rest, for any scenario: counts, tables, and rights in entries."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import find, given

from shootdown.machine.entry import DIRTY, NX, PRESENT, PROTNONE, PSE, RW, UFFD_WP, USER
from shootdown.machine.geometry import FANOUT, FRAMES, PAGES, TABLES, frame_of
from shootdown.machine.x86 import POISON_FREE
from shootdown.mm.state import (
    GONE_MM,
    MMS,
    VM_EXEC,
    VM_MAPPED,
    VM_PFNMAP,
    VM_PGOFF_SHIFT,
    VM_RIGHTS,
    VM_SHARED,
    VM_WRITE,
    ZERO_FRAME,
)
from shootdown.mm.tables import is_migration, is_special, is_swap, pmd_of, pte_of
from shootdown.mm.world import FlushStrategy, World
from shootdown.optimized.policies import REGISTRY
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import execute
from shootdown.scenario import Scenario, kinds
from shootdown.scenario.verdict import ILLEGAL, LEGAL
from tests.strategies import any_scenario, searching

STRATEGIES: list[FlushStrategy] = [EagerFlush(), REGISTRY["linux"].make(), REGISTRY["v3"].make()]


def rested(scenario: Scenario) -> list[World]:
    """Return the worlds in which the scenario ends, except those that ran out of frames; no strategy is broken."""
    outcomes = [execute(scenario, strategy) for strategy in STRATEGIES]
    assert ILLEGAL not in {outcome.verdict for outcome in outcomes}
    return [outcome.world for outcome in outcomes if outcome.verdict == LEGAL]


def entries(w: World) -> list[tuple[int, int, int]]:
    """Return (mm, page, entry) of every entry that is not none; a huge leaf is listed for each of its pages."""
    found = []
    for mm in range(MMS):
        if w.root[mm] < 0:
            continue
        for page in range(PAGES):
            pmd = pmd_of(w, mm, page // FANOUT)
            entry = pmd | (page % FANOUT) << 12 if pmd & PSE else pte_of(w, mm, page)
            if entry:
                found.append((mm, page, entry))
    return found


def leaves(w: World) -> list[tuple[int, int, int]]:
    """Return the entries that name a frame."""
    return [found for found in entries(w) if not is_swap(found[2])]


MET: dict[str, Callable[[World, int, int, int], object]] = {
    "special": lambda _w, _mm, _page, entry: is_special(entry),
    "hint": lambda _w, _mm, _page, entry: entry & PROTNONE and not is_swap(entry),
    "huge": lambda w, mm, page, _entry: pmd_of(w, mm, page // FANOUT) & PSE,
    "read-only": lambda _w, _mm, _page, entry: entry & PRESENT and not entry & RW,
    "executable": lambda _w, _mm, _page, entry: entry & PRESENT and not entry & NX,
    "tracked": lambda _w, _mm, _page, entry: entry & PRESENT and entry & UFFD_WP,
    "shared": lambda w, mm, page, _entry: w.vma[mm][page] & VM_SHARED,
    "with two owners": lambda w, _mm, _page, entry: w.refs[frame_of(entry)] == 2,
    "swap": lambda _w, _mm, _page, entry: is_swap(entry),
}
"""Kinds of entries that the facts below are about."""


@pytest.mark.parametrize("what", MET)
def test_worlds_at_rest_have_such_entries(what: str) -> None:
    """The entries that the invariants are about exist in some of the worlds."""

    def has(scenario: Scenario) -> bool:
        return any(MET[what](w, *found) for w in rested(scenario) for found in entries(w))

    assert has(find(any_scenario(), has, settings=searching(2000)))


@given(any_scenario())
def test_references_are_mappings(scenario: Scenario) -> None:
    """A frame has a reference for each entry that maps it and one for each cache; nothing leaks or dangles.

    The huge zero page has one reference of its own.
    """
    for w in rested(scenario):
        mapped = Counter(frame_of(entry) for _, _, entry in leaves(w) if not is_special(entry))
        mapped.update(frame for frame in w.shared if frame >= 0)
        mapped.update(w.driver.values())
        mapped.update(w.swap_cache.values())
        if w.huge_zero >= 0:
            mapped.update(range(w.huge_zero, w.huge_zero + FANOUT))
        roots = [*w.root, *(root for _, root in w.gone)]
        tables = {root for root in roots if root >= 0} | {
            frame_of(pmd_of(w, mm, index))
            for mm in range(MMS)
            for index in range(TABLES)
            if w.root[mm] >= 0 and pmd_of(w, mm, index) & (PRESENT | PSE) == PRESENT
        }
        if w.poking >= 0:
            table = frame_of(w.machine.read_entry(w.poking, 0))
            tables |= {w.poking, table, frame_of(w.machine.read_entry(table, 0))}

        for frame in range(1, FRAMES):
            free = bool(w.free_frames >> frame & 1)
            assert w.refs[frame] == (1 if frame in tables else mapped[frame])
            assert free == (w.refs[frame] == 0)
            assert not free or w.machine.read_entry(frame, 0) == POISON_FREE


@given(any_scenario())
def test_entries_are_what_their_regions_say(scenario: Scenario) -> None:
    """An entry has a region, and grants no store or fetch beyond its rights.

    It is present iff the region has any rights; after a NUMA scan it may be PROTNONE as well.
    """
    for w in rested(scenario):
        hinted = any(record[0] == kinds.NUMA_SCAN for record in scenario.records)
        for mm, page, entry in leaves(w):
            vma = w.vma[mm][page]

            assert vma & VM_MAPPED
            assert bool(entry & PRESENT) == bool(entry & USER)
            assert bool(entry & PRESENT) != bool(entry & PROTNONE)
            assert not entry & PRESENT or vma & VM_RIGHTS
            assert entry & PRESENT or not vma & VM_RIGHTS or hinted
            assert not entry & RW or vma & VM_WRITE
            assert not entry & PRESENT or bool(entry & NX) == (not vma & VM_EXEC)


@given(any_scenario())
def test_special_entries(scenario: Scenario) -> None:
    """Special are the entries of the zero page and of a driver's regions, whose frames are the driver's; i_mmap has
    these regions.
    """
    for w in rested(scenario):
        for mm, page, entry in leaves(w):
            vma = w.vma[mm][page]
            frame = frame_of(entry)

            assert is_special(entry) == (frame == ZERO_FRAME or bool(vma & VM_PFNMAP))
            assert not vma & VM_PFNMAP or frame == w.driver[vma >> VM_PGOFF_SHIFT]
        assert w.i_mmap_lock == 0
        assert w.i_mmap == {
            mm * PAGES + page: vma >> VM_PGOFF_SHIFT
            for mm, regions in enumerate(w.vma)
            if w.root[mm] >= 0
            for page, vma in enumerate(regions)
            if vma & VM_PFNMAP
        }


@given(any_scenario())
def test_who_may_have_rw(scenario: Scenario) -> None:
    """No entry is writable that maps the zero page, a private frame with another owner, or a tracked page."""
    for w in rested(scenario):
        for mm, page, entry in leaves(w):
            if entry & RW:
                frame = frame_of(entry)

                assert frame != ZERO_FRAME
                assert w.refs[frame] == 1 or w.vma[mm][page] & VM_SHARED
                assert not entry & UFFD_WP


@given(any_scenario())
def test_slots_are_counted(scenario: Scenario) -> None:
    """A slot counts the entries of mapped regions that name it.

    It has its content in itself or in the swap cache, and the same in both; the cache has only what an entry maps or
    names.
    """
    for w in rested(scenario):
        swapped = [(mm, page, entry) for mm, page, entry in entries(w) if is_swap(entry)]
        mapped = {frame_of(entry) for _, _, entry in leaves(w)}

        assert w.swap_map == Counter(frame_of(entry) for _, _, entry in swapped)
        assert all(w.vma[mm][page] & VM_MAPPED for mm, page, _ in swapped)
        assert w.swap_map.keys() <= w.swap.keys() | w.swap_cache.keys()
        assert w.swap.keys() <= w.swap_map.keys() | w.swap_cache.keys()
        for slot, frame in w.swap_cache.items():
            assert slot in w.swap_map or frame in mapped
            assert w.swap.get(slot) in (None, w.machine.read_entry(frame, 0))


@given(any_scenario())
def test_no_operation_leaves_marks(scenario: Scenario) -> None:
    """No migration entry, invalidated leaf, page lock or queued reference is left when every operation has ended."""
    for w in rested(scenario):
        assert not any(is_migration(entry) for _, _, entry in leaves(w))
        assert w.page_lock == 0
        assert w.lazy_free & w.free_frames == 0
        assert w.flush_state.count_open(0) == 0
        assert not any(w.steps)
        assert set(w.op) == {-1}


@given(any_scenario())
def test_stores_leave_dirty(scenario: Scenario) -> None:
    """A private frame with content other than zeros, and not freed lazily, is dirty in some entry, or in swap."""
    for w in rested(scenario):
        dirty = {frame_of(entry) for _, _, entry in leaves(w) if entry & DIRTY}
        for mm, page, entry in leaves(w):
            frame = frame_of(entry)
            if w.machine.read_entry(frame, 0) and not w.vma[mm][page] & VM_SHARED:
                clean = [slot for slot, kept in w.swap_cache.items() if kept == frame]
                assert frame in dirty or w.lazy_free >> frame & 1 or clean


@given(any_scenario())
def test_a_cpu_has_loaded_what_it_runs(scenario: Scenario) -> None:
    """At rest CR3 is the root of the loaded space, which is the thread's space unless the CPU is lazy."""
    for w in rested(scenario):
        for cpu in range(w.cpus):
            loaded = w.loaded_mm[cpu]

            if loaded == GONE_MM:
                assert w.machine.cr3[cpu] in [root for _, root in w.gone]
            else:
                assert w.machine.cr3[cpu] == (w.root[loaded] if loaded >= 0 else -1)
            assert w.lazy[cpu] or loaded == w.task_mm[cpu]
