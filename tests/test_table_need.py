"""Whether a change of an entry needs a flush, as the search of `shootdown table` finds it."""

import pytest

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    GLOBAL,
    NX,
    PAT,
    PAT_LARGE,
    PCD,
    PKEY,
    PRESENT,
    PSE,
    PWT,
    RW,
    SOFT_DIRTY,
    UFFD_WP,
    USER,
)
from shootdown.machine.geometry import FRAME_BITS
from shootdown.mm.fault_handler import FaultHandler
from shootdown.scenario import kinds
from shootdown.table.changes import CONTEXT, NEW_FRAME, OLD_FRAME, Change, all_changes
from shootdown.table.need import (
    ACCESSED_AGAIN,
    DEPTH,
    NO,
    SPURIOUS_FAULT,
    WITHOUT_REWALK,
    YES,
    Need,
    need_of,
)
from shootdown.table.trial import DISCARD, FaultHandling

PAGE = FRAME_BITS[OLD_FRAME] | PRESENT | USER | ACCESSED
LINUX = FaultHandling()
CHANGES = all_changes()


def need(old: int, new: int, handling: FaultHandling = LINUX) -> Need:
    """Return the need of a change of an entry of 4 KiB."""
    return need_of(old, new, huge=False, handling=handling)


def events(found: Need) -> list[int]:
    """Return the kinds of the events of a counterexample."""
    assert found.counterexample is not None
    return [event[0] for event in found.counterexample.events]


@pytest.mark.parametrize("huge", [False, True])
def test_one_more_event_changes_no_need(*, huge: bool) -> None:
    """A search one event deeper gives the same answer for every class of changes, in its first and last context."""
    differing = [
        change.name
        for change in CHANGES
        if change.huge == huge
        for old, new in (change.cases[0], change.cases[-1])
        for wanted in (need_of(old, new, huge=huge, handling=LINUX),)
        for deeper in (need_of(old, new, huge=huge, handling=LINUX, depth=DEPTH + 1),)
        if deeper != wanted
    ]

    assert differing == []


def test_write_protecting_a_clean_entry() -> None:
    """It needs no flush if a store through the clean entry walks again, and breaks C1 if it does not."""
    clean = need(PAGE | RW, PAGE)
    dirty = need(PAGE | RW | DIRTY, PAGE | DIRTY)

    assert clean.needed == WITHOUT_REWALK
    assert clean.counterexample is not None
    assert clean.counterexample.machine == kinds.NO_DIRTY_REWALK
    assert clean.counterexample.reason == "stale-grant"
    assert dirty.needed == YES
    assert events(dirty) == events(clean) == [kinds.WRITE]


def test_promotion_that_is_healed_needs_no_flush_and_the_flush_saves_a_fault() -> None:
    """A spurious fault heals setting RW, and clearing NX under a handler that tests VM_EXEC.

    This does not hold if the handler reports the fault.
    """
    exec_check = FaultHandling(FaultHandler.EXEC_CHECK)
    healed = Need(NO, None, frozenset({SPURIOUS_FAULT}))
    for handling in (LINUX, exec_check):
        assert need(PAGE | NX, PAGE | NX | RW, handling) == healed
    assert need(PAGE | NX, PAGE, exec_check) == healed
    for new in (PAGE | NX | RW, PAGE):
        assert need(PAGE | NX, new, exec_check._replace(report_spurious=True)).needed == YES


def test_promotion_to_executable_needs_its_flush_under_linux() -> None:
    """Linux's handler treats the fetch that a stale NX denies as a denied load: one fetch shows it."""
    found = need(PAGE | NX, PAGE)

    assert found.needed == YES
    assert events(found) == [kinds.EXEC]
    assert found.counterexample is not None
    assert found.counterexample.reason == "denied-though-allowed"


def test_clearing_dirty() -> None:
    """It needs a flush if a store could still go through the entry: the page is then dropped as clean."""
    writable = need(PAGE | RW | DIRTY, PAGE | RW)

    assert writable.needed == YES
    assert writable.counterexample is not None
    assert writable.counterexample.reason == "dirty-lost"
    assert writable.counterexample.events[-1] == DISCARD
    assert need(PAGE | DIRTY, PAGE).needed == NO


def test_clearing_accessed_costs_page_aging_alone() -> None:
    """No outcome is illegal without the flush; with it the next use is seen again."""
    assert need(PAGE, PAGE & ~ACCESSED) == Need(NO, None, frozenset({ACCESSED_AGAIN}))


def test_clearing_global_is_seen_by_another_space() -> None:
    """A global entry is used in every address space."""
    found = need(PAGE | GLOBAL, PAGE)

    assert found.needed == YES
    assert events(found) == [kinds.SWITCH, kinds.READ]
    assert need(PAGE, PAGE | GLOBAL).needed == NO


@pytest.mark.parametrize("huge", [False, True])
def test_memory_type_and_key(*, huge: bool) -> None:
    """A stale memory type or key is used until the flush, in either direction."""
    page = PAGE | (PSE if huge else 0)
    for bit in (PWT, PCD, PAT_LARGE if huge else PAT, PKEY & -PKEY):
        for old, new in ((page, page | bit), (page | bit, page)):
            found = need_of(old, new, huge=huge, handling=LINUX)
            assert found.counterexample is not None
            assert (found.needed, found.counterexample.reason) == (YES, "stale-attributes")


@pytest.mark.parametrize("huge", [False, True])
def test_another_frame(*, huge: bool) -> None:
    """The old frame is freed while a TLB still leads to it, before any further event."""
    old = PAGE | (PSE if huge else 0)
    new = old & ~FRAME_BITS[OLD_FRAME] | FRAME_BITS[NEW_FRAME]
    found = need_of(old, new, huge=huge, handling=LINUX)

    assert events(found) == []
    assert found.counterexample is not None
    assert found.counterexample.reason == "freed-frame-still-cached"


def test_software_bits_and_what_was_not_present() -> None:
    """Neither needs a flush."""
    for old, new in ((PAGE, PAGE | UFFD_WP), (PAGE | SOFT_DIRTY, PAGE), (PAGE, PAGE)):
        assert need(old, new) == Need(NO, None, frozenset())
    for change in CHANGES:
        if not change.cases[0][0] & PRESENT:
            for old, new in change.cases:
                assert need_of(old, new, huge=change.huge, handling=LINUX).needed == NO, change.name


def test_whatever_is_present_and_goes_away_needs_a_flush() -> None:
    """This holds for a change to none, PROTNONE, a migration or swap entry, or an invalidated PMD."""
    leaving = [
        change
        for change in CHANGES
        if change.cases[0][0] & PRESENT and not change.cases[0][1] & PRESENT
    ]

    assert len(leaving) == 9
    for change in leaving:
        needs = {
            need_of(old, new, huge=change.huge, handling=LINUX).needed for old, new in change.cases
        }
        assert needs == {YES}, change.name


def test_cases_are_the_contexts() -> None:
    """Case i of a change has those free flags set that the bits of i name, and changes none of them."""

    def context(change: Change, entry: int) -> int:
        return sum(1 << i for i, bit in enumerate(change.free) if entry & bit)

    for change in CHANGES:
        assert len(change.cases) == 1 << len(change.free)
        assert set(change.free) <= set(CONTEXT)
        if all(old & new & PRESENT for old, new in change.cases):
            for number, (old, new) in enumerate(change.cases):
                assert context(change, old) == context(change, new) == number, change.name
