"""The version history: floors, windows, and the textbook definition that they implement.

A page seen through all TLBs is a multi-writer regular register whose writes are operations (correctness.md section 2).
"""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.machine.entry import EXEC, PRESENT, READ, RW, USER, WRITE
from shootdown.machine.geometry import FRAME_BITS
from shootdown.mm.state import ZERO_FRAME
from shootdown.reference.history import History
from tests.histories import CPUS, A, B, entry, history

KINDS = (READ, WRITE, EXEC)
ALL = READ | WRITE | EXEC


# The definition, written from the text of correctness.md and without its algorithm.


class Event(NamedTuple):
    """One event of a page's history: a CPU's operation stores an entry, visits the page, zaps it and finds nothing, or
    closes.
    """

    what: str
    cpu: int
    frame: int = 0
    grants: int = 0
    deny: int = 0


def may_use(events: list[Event], kind: int) -> set[int]:
    """Return the frames that an access at the end may use, by the definition.

    A version may be used if it was committed and it grants the kind, unless an operation that denies the kind has
    closed and, at its commit point, the page had a newer version already.
    A zap that found nothing does not deny zeros as long as nothing but zeros has been mapped since.
    """
    commits = [(-1, ZERO_FRAME, 0)]
    commits += [(t, e.frame, e.grants) for t, e in enumerate(events) if e.what == "store"]
    frames = set()
    for committed, frame, grants in commits:
        if not grants & kind:
            continue
        zeros = all(later == ZERO_FRAME for t, later, _ in commits if t >= committed)
        overwritten = False
        for visited, visit in enumerate(events):
            if not (visit.deny & kind or (visit.what == "zap" and not zeros)):
                continue
            closed = any(e.what == "close" and e.cpu == visit.cpu for e in events[visited:])
            newer = any(committed < t < visited for t, _, _ in commits)
            overwritten = overwritten or (closed and newer)
        if not overwritten:
            frames.add(frame)
    return frames


def naive(events: list[Event], kind: int) -> set[int]:
    """Return the tempting criterion: any value since the earliest change whose operation has not closed yet."""
    stores = [(t, e) for t, e in enumerate(events) if e.what == "store"]
    is_open = [
        not any(e.what == "close" and e.cpu == store.cpu for e in events[t:]) for t, store in stores
    ]
    first = is_open.index(True) if True in is_open else len(stores)
    values = [(store.frame, store.grants) for _, store in stores][max(first - 1, 0) :]
    return {frame for frame, grants in values if grants & kind}


def replayed(events: list[Event]) -> History:
    """Return the history after the events."""
    h = history()
    h.region(-1, 0, 0, ALL)
    for e in events:
        if e.what == "store":
            h.commit(0, 0, entry(e.frame, e.grants) if e.grants else 0)
        elif e.what == "visit":
            h.visit(e.cpu, 0, 0, e.deny)
        elif e.what == "zap":
            h.found_unmapped(e.cpu, 0, 0)
        else:
            h.close(e.cpu)
    return h


def allowed(h: History, kind: int) -> set[int]:
    """Return the frames that the history allows."""
    return {incarnation & 63 for incarnation in h.allowed(0, kind)}


EVENTS = st.lists(
    st.builds(
        lambda what, cpu, frame, grants, deny: Event(
            what,
            cpu,
            frame if what == "store" and grants else 0,
            (grants | READ if grants else 0) if what == "store" else 0,
            deny if what == "visit" else 0,
        ),
        st.sampled_from(["store", "visit", "zap", "close"]),
        st.integers(0, CPUS - 1),
        st.sampled_from([A, B, ZERO_FRAME]),
        st.integers(0, 7),
        st.integers(0, 7),
    ),
    max_size=16,
)


@given(EVENTS)
def test_the_floor_is_the_textbook_definition(events: list[Event]) -> None:
    """After every prefix of a random history, for each kind, exactly the frames of the definition are allowed."""
    for length in range(len(events) + 1):
        prefix = events[:length]
        h = replayed(prefix)
        for kind in KINDS:
            expected = may_use(prefix, kind)

            assert allowed(h, kind) == expected
            assert {
                frame for frame in (A, B, ZERO_FRAME) if h.explain(0, kind, frame) >= 0
            } == expected


RECLAIM_AND_MPROTECT = [
    Event("store", 0, A, READ | WRITE),
    Event("visit", 0),
    Event("close", 0),
    Event("store", 1),  # reclaim on CPU 1 clears the entry; its flush is still to come
    Event("visit", 1),
    Event("visit", 2, deny=WRITE),  # mprotect(PROT_READ) on CPU 2 finds nothing, flushes nothing
    Event("close", 2),  # and returns
]


def test_the_naive_form_is_too_weak() -> None:
    """A store after an mprotect that passed over a pending unmap is illegal, a load is legal (3ea277194daa)."""
    h = replayed(RECLAIM_AND_MPROTECT)

    assert A in naive(RECLAIM_AND_MPROTECT, WRITE)
    assert allowed(h, WRITE) == set()
    assert h.explain(0, WRITE, A) < 0
    assert allowed(h, READ) == {A}


def test_zeros_last_until_something_is_mapped() -> None:
    """MADV_DONTNEED that finds a hole leaves a translation to zeros; the page of the next store makes it stale.

    If munmap has taken the region out, the hole denies everything at once.
    """
    h = history()
    h.region(-1, 0, 0, READ | WRITE)
    h.commit(0, 0, entry(ZERO_FRAME, READ))
    h.commit(0, 0, 0)
    h.found_unmapped(0, 0, 0)
    h.close(0)
    assert allowed(h, READ) == {ZERO_FRAME}
    h.commit(0, 0, entry(A, READ | WRITE))
    assert allowed(h, READ) == {A}

    h.commit(0, 0, entry(ZERO_FRAME, READ))
    h.commit(0, 0, 0)
    h.region(-1, 0, 0, -1)
    h.found_unmapped(0, 0, 0)
    h.close(0)
    assert allowed(h, READ) == set()


def test_content_that_a_hole_has_ended_is_not_kept_by_zeros_behind_it() -> None:
    """Content from before the zeros is denied when the zap returns."""
    h = history()
    h.region(-1, 0, 0, READ | WRITE)
    for bits in (entry(A, READ), 0, entry(ZERO_FRAME, READ), 0):
        h.commit(0, 0, bits)
    h.found_unmapped(0, 0, 0)
    h.close(0)

    assert allowed(h, READ) == {ZERO_FRAME}


def test_an_equal_value_is_an_equal_value() -> None:
    """ABA: an entry from before mprotect(R) may be used after mprotect(RW) has returned; values count, not tags."""
    h = history()
    for grants, deny in ((READ | WRITE, 0), (READ, WRITE), (READ | WRITE, 0)):
        h.commit(0, 0, entry(A, grants))
        h.visit(0, 0, 0, deny)
        h.close(0)

    assert allowed(h, WRITE) == {A}


def test_inside_a_window_both_values_are_allowed() -> None:
    """Between commit and close an access may use the old frame or the new one; afterwards the new one alone."""
    h = history()
    h.commit(0, 0, entry(A, ALL))
    h.commit(0, 0, entry(B, ALL))
    h.visit(0, 0, 0, ALL)
    assert [allowed(h, kind) for kind in KINDS] == [{A, B}] * 3
    h.close(0)

    assert [allowed(h, kind) for kind in KINDS] == [{B}] * 3


def test_a_promise_is_of_its_kinds_alone() -> None:
    """An operation that denies stores leaves older rights to read and fetch as they are."""
    h = history()
    h.commit(0, 0, entry(A, ALL))
    h.commit(0, 0, entry(B, READ))
    h.visit(0, 0, 0, WRITE)
    h.close(0)

    assert [allowed(h, kind) for kind in KINDS] == [{A, B}, set(), {A}]


def test_an_operation_closes_for_its_own_cpu() -> None:
    """The return of one operation closes no window of another operation."""
    h = history()
    h.commit(0, 0, entry(A, ALL))
    h.commit(0, 0, 0)
    h.visit(1, 0, 0, ALL)
    h.close(2)

    assert allowed(h, READ) == {A}
    h.close(1)
    assert allowed(h, READ) == set()


def test_a_promise_is_of_the_version_at_its_visit() -> None:
    """A store of another CPU after the visit is newer than the promise, and stays allowed."""
    h = history()
    h.commit(0, 0, entry(A, READ))
    h.visit(0, 0, 0, ALL)
    h.commit(0, 0, entry(B, READ))
    h.commit(0, 0, 0)
    h.close(0)

    assert allowed(h, READ) == {A, B}


def test_floors_never_fall() -> None:
    """A late close of an early visit does not reopen what a newer operation has closed."""
    h = history()
    h.commit(0, 0, entry(A, READ))
    h.visit(1, 0, 0, ALL)
    h.commit(0, 0, entry(B, READ))
    h.visit(0, 0, 0, ALL)
    h.close(0)
    h.close(1)

    assert allowed(h, READ) == {B}


def test_pages_and_spaces_are_separate() -> None:
    """A promise about one page says nothing about another page, nor about the same page elsewhere."""
    h = history()
    for mm in (0, 1):
        for page in (0, 1):
            h.commit(mm, page, entry(A, READ))
            h.commit(mm, page, 0)
    h.visit(0, 0, 1, ALL)
    h.close(0)

    assert [bool(h.allowed(slot, READ)) for slot in (0, 1, 8, 9)] == [True, False, True, True]


@pytest.mark.parametrize("bits", [0, PRESENT, USER, RW | USER, FRAME_BITS[A] | PRESENT | RW])
def test_what_no_user_can_use_grants_nothing(bits: int) -> None:
    """An entry without PRESENT or without USER is the version that grants nothing."""
    assert history().version_of(0, bits) == 0


def test_a_version_names_the_incarnation() -> None:
    """Versions of the same entry before and after a reuse of its frame differ."""
    h = history()
    old = h.version_of(0, entry(A, READ))
    h.generation[A] += 1
    h.commit(0, 0, entry(A, READ))

    assert h.version_of(0, entry(A, READ)) != old
    assert h.explain(0, READ, A) < 0
    assert h.explain(0, READ, 1 << 6 | A) >= 0


def test_the_newest_explanation_is_given() -> None:
    """If several versions explain an access, the newest one says which object was used."""
    h = history()
    h.commit(0, 0, entry(A, READ))
    h.object_new(0, 0, A)
    h.commit(0, 0, entry(A, READ))

    assert h.explain(0, READ, A) == h.versions[0][-1] != h.versions[0][-2]


def test_a_region_is_remembered_by_page() -> None:
    """The history knows the rights of each page's region, and -1 without one."""
    h = history()
    h.region(-1, 1, 2, READ)

    assert h.region_rights[8 + 2] == READ
    assert h.region_rights.count(-1) == 23
