"""Broadcast invalidation: issued by one processor for all, complete when that processor has waited, and no sooner."""

from collections.abc import Callable

import pytest

from machine.broadcast import UPPER, invlpgb, invlpgb_context, invlpgb_nonglobals, tlbsync
from machine.entry import GLOBAL, READ
from machine.x86 import GLOBAL_TAG, Machine
from tests.paging import DATA, LEAF, OTHER, ROOT, machine_with, set_leaf

A, B = 1, 2
Issue = Callable[[Machine], None]


def warm() -> Machine:
    """Two processors that have each cached pages 0 and 1 under two PCIDs, and a global page 2; PCID A is loaded."""
    m = machine_with(LEAF, cpus=2)
    set_leaf(m, LEAF, page=1, frame=OTHER)
    set_leaf(m, LEAF | GLOBAL, page=2, frame=DATA)
    for cpu in (0, 1):
        for pcid in (B, A):
            m.load_cr3(cpu, ROOT, pcid, noflush=True)
            for page in (0, 1, 2):
                m.access(cpu, page, READ)
    return m


def held(m: Machine, cpu: int) -> set[tuple[int, int]]:
    """The translations that a processor has cached, as (PCID, page)."""
    return {(key >> 4, key & 7) for key in m.tlb[cpu]}


EVERYTHING = {(A, 0), (A, 1), (B, 0), (B, 1), (GLOBAL_TAG, 2)}


@pytest.mark.parametrize(
    ("issue", "left", "tables"),
    [
        (lambda m: invlpgb(m, 0, A, 0), EVERYTHING - {(A, 0)}, {B}),
        (lambda m: invlpgb_context(m, 0, A), EVERYTHING - {(A, 0), (A, 1)}, {B}),
        (lambda m: invlpgb_nonglobals(m, 0), {(GLOBAL_TAG, 2)}, set()),
    ],
)
def test_what_is_gone_when_the_issuer_has_waited(
    issue: Issue, left: set[tuple[int, int]], tables: set[int]
) -> None:
    """Until then every processor keeps everything; then all have dropped what was named, upper entries included."""
    m = warm()
    issue(m)
    assert held(m, 0) == held(m, 1) == EVERYTHING

    tlbsync(m, 0)

    assert held(m, 0) == held(m, 1) == left
    assert [{key >> 1 for key in psc} for psc in m.psc] == [tables, tables]


def test_another_processor_cannot_wait_for_it() -> None:
    """The completion is the issuer's."""
    m = warm()
    invlpgb(m, 0, A, 0)

    tlbsync(m, 1)

    assert held(m, 0) == held(m, 1) == EVERYTHING


def test_what_is_cached_behind_the_issue_stays() -> None:
    """A walk behind the issue that reads all tables caches what they say then, and the wait does not touch that."""
    m = warm()
    m.psc[1].clear()
    invlpgb(m, 0, A, 0)
    set_leaf(m, LEAF, page=0, frame=OTHER)
    m.evict(1, 0)
    m.access(1, 0, READ)

    tlbsync(m, 0)

    assert (A, 0) not in held(m, 0)
    assert (A, 0) in held(m, 1)


def test_what_is_walked_through_an_upper_entry_that_is_to_go_goes_with_it() -> None:
    """An invalidation is one instant on each processor: the upper entry and what was read through it."""
    m = warm()
    m.evict(1, 0)
    invlpgb(m, 0, A, 0)
    m.access(1, 0, READ)
    assert (A, 0) in held(m, 1)

    tlbsync(m, 0)

    assert held(m, 1) == EVERYTHING - {(A, 0)}


def test_a_copy_has_its_own_invalidations_on_their_way() -> None:
    """Waiting in a copy completes nothing in the original, and the two differ in their keys."""
    m = warm()
    before = m.key()
    invlpgb_context(m, 0, A)
    other = m.copy()
    assert other.key() == m.key() != before
    assert {key & UPPER for _, key, _ in m.issued[0]} == {0, UPPER}

    tlbsync(other, 0)

    assert other.issued == [[], []] != m.issued
    assert held(m, 1) == EVERYTHING
