"""Broadcast invalidation: one processor issues it for all, and it is complete when that processor has waited, not
before.
"""

from collections.abc import Callable

import pytest

from shootdown.machine.caches import BOTH, GLOBAL_TAG, TRANSLATION, UPPER
from shootdown.machine.entry import GLOBAL, READ, WRITE
from shootdown.machine.x86 import Machine
from tests.paging import DATA, LEAF, OTHER, ROOT, machine_with, set_leaf

A, B = 1, 2
Issue = Callable[[Machine], None]


def warm() -> Machine:
    """Return two processors that have each cached pages 0 and 1 under two PCIDs, and a global page 2; PCID
    A is loaded.
    """
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
    """Return the translations that a processor has cached, as (PCID, page)."""
    return {(key >> 4, key & 7) for key in m.tlb[cpu]}


EVERYTHING = {(A, 0), (A, 1), (B, 0), (B, 1), (GLOBAL_TAG, 2)}


@pytest.mark.parametrize(
    ("issue", "left", "tables"),
    [
        (lambda m: m.invlpgb(0, A, 0), EVERYTHING - {(A, 0)}, {B}),
        (lambda m: m.invlpgb_context(0, A), EVERYTHING - {(A, 0), (A, 1)}, {B}),
        (lambda m: m.invlpgb_nonglobals(0), {(GLOBAL_TAG, 2)}, set()),
    ],
)
def test_what_is_gone_when_the_issuer_has_waited(
    issue: Issue, left: set[tuple[int, int]], tables: set[int]
) -> None:
    """Until then every processor keeps everything; then all have dropped what was named, including upper entries."""
    m = warm()
    issue(m)
    assert held(m, 0) == held(m, 1) == EVERYTHING

    m.tlbsync(0)

    assert held(m, 0) == held(m, 1) == left
    assert [{key >> 1 for key in psc} for psc in m.psc] == [tables, tables]


def test_another_processor_cannot_wait_for_it() -> None:
    """Only the issuer's wait completes it."""
    m = warm()
    m.invlpgb(0, A, 0)

    m.tlbsync(1)

    assert held(m, 0) == held(m, 1) == EVERYTHING


def test_a_warm_processor_carries_it_out_before_it_caches_the_page_again() -> None:
    """Warm processor 1, issue, let it cache the page anew, change the entry, wait: processor 1 still hits.

    So an operation that invalidates before the change and waits after it has invalidated nothing.
    """
    m = warm()
    m.invlpgb(0, A, 0)
    m.evict(1, 0, BOTH)
    m.access(1, 0, READ)
    set_leaf(m, 0, page=0)

    m.tlbsync(0)

    assert (A, 0) not in held(m, 0)
    assert m.access(1, 0, READ) >> 8 & 63 == DATA


@pytest.mark.parametrize("evicted", [(), (TRANSLATION,), (UPPER,)])
def test_what_was_not_all_dropped_was_not_carried_out(evicted: tuple[int, ...]) -> None:
    """An invalidation is one instant on each processor, for the translation and the upper entry.

    A translation that is walked through an upper entry to be dropped is dropped with it, and so is an upper entry that
    is read together with a translation to be dropped.
    """
    m = warm()
    m.invlpgb(0, A, 0)
    for what in evicted:
        m.evict(1, 0, what)
    m.access(1, 0, READ)
    m.access(1, 1, READ)
    assert held(m, 1) == EVERYTHING

    m.tlbsync(0)

    assert held(m, 1) == EVERYTHING - {(A, 0)}
    assert {key >> 1 for key in m.psc[1]} == {B}


def test_each_page_is_carried_out_by_itself() -> None:
    """A processor may have carried out one of two invalidations and not the other."""
    m = warm()
    m.invlpgb(0, A, 0)
    m.invlpgb(0, A, 1)
    m.evict(1, 0, BOTH)
    m.access(1, 0, READ)

    m.tlbsync(0)

    assert held(m, 1) == EVERYTHING - {(A, 1)}


def test_a_fill_finds_an_invalidation_carried_out_as_an_access_does() -> None:
    """Speculation caches as an access does."""
    m = warm()
    m.invlpgb(0, A, 0)
    m.evict(1, 0, BOTH)
    m.fill(1, 0)

    m.tlbsync(0)

    assert held(m, 1) == EVERYTHING


def test_a_cold_processor_has_nothing_to_carry_out() -> None:
    """What it caches after the issue, from a walk of all tables, stays."""
    m = warm()
    m.evict(1, 0, BOTH)
    m.invlpgb(0, A, 0)
    m.access(1, 0, READ)

    m.tlbsync(0)

    assert held(m, 1) == EVERYTHING


def test_one_instant_serves_two_issuers() -> None:
    """What two processors have issued before the instant is dropped once; what is issued after it is dropped again."""
    m = warm()
    m.invlpgb(0, A, 0)
    m.invlpgb(1, A, 0)
    m.tlbsync(0)
    m.access(1, 0, READ)
    m.tlbsync(1)
    assert held(m, 1) == EVERYTHING

    m.invlpgb(1, A, 0)
    m.tlbsync(1)
    assert held(m, 1) == EVERYTHING - {(A, 0)}


def test_a_store_through_a_clean_entry_carries_nothing_out() -> None:
    """Setting D in an entry to be dropped does not change that."""
    m = warm()
    m.invlpgb(0, A, 0)
    m.access(1, 0, WRITE)

    m.tlbsync(0)

    assert held(m, 1) == EVERYTHING - {(A, 0)}


def test_a_copy_has_its_own_invalidations_on_their_way() -> None:
    """Waiting in a copy completes nothing in the original, and the two differ in their keys."""
    m = warm()
    before = m.key()
    m.invlpgb_context(0, A)
    other = m.copy()
    assert other.key() == m.key() != before

    other.tlbsync(0)

    assert other.key() != m.key()
    assert held(m, 1) == EVERYTHING
    m.tlbsync(0)
    assert other.key() == m.key()
