"""Semantic features: small numbers, one for each kind of situation that a record leads to."""

import pytest
from hypothesis import given

from shootdown.fuzz.features import (
    ALIAS,
    ENTRY_CLASSES,
    FEATURES,
    OTHER_CLASSES,
    STALE,
    entry_class,
    failure_feature,
    held_class,
    observe,
    tlb_class,
)
from shootdown.machine.entry import MIGRATION, NX, PRESENT, PSE, RW, UFFD_WP, USER
from shootdown.machine.geometry import FRAME_BITS
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Record, Scenario, kinds
from shootdown.scenario.verdict import REASONS
from tests.kernel import Kernel, R
from tests.strategies import any_scenario

READ_P0: Record = (kinds.READ, 1, 0, 0, 1, 0)


def seen(k: Kernel, record: Record = READ_P0) -> set[int]:
    """Return the features of the kernel as it is, after a record."""
    into: set[int] = set()
    observe(k.w, k.journal, record, into)
    return into


def newest(k: Kernel, page: int = 0) -> int:
    """Return the newest version of a page of the first address space."""
    return k.journal.versions[page][-1]


@given(any_scenario(24))
def test_every_feature_is_below_the_number_of_counters(scenario: Scenario) -> None:
    """The engine reserves FEATURES counters, and a run of any policy uses no other."""
    for policy in ("linux", "v1"):
        shown: set[int] = set()
        execute(scenario, REGISTRY[policy].make(), observe=observe, shown=shown)

        assert all(0 <= feature < FEATURES for feature in shown)


def test_every_reason_has_a_feature_of_its_own() -> None:
    """The first failure of each kind is new, and none counts as a situation."""
    features = {failure_feature(reason) for reason in REASONS}

    assert len(features) == len(REASONS)
    assert max(features) == FEATURES - 1


def test_classes_of_entries_differ_by_what_they_allow() -> None:
    """Nothing, migration, other absent entries, userfaultfd's mark, and each combination of RW, NX and size."""
    present = PRESENT | USER | FRAME_BITS[5]
    rights = [0, RW, NX, RW | NX]
    entries = [0, MIGRATION, USER, present | UFFD_WP]
    entries += [present | size | right for size in (0, PSE) for right in rights]
    classes = [entry_class(entry) for entry in entries]

    assert len(set(classes)) == len(classes) == ENTRY_CLASSES
    assert set(classes) == set(range(ENTRY_CLASSES))


def test_what_a_tlb_holds_is_compared_with_the_newest_version() -> None:
    """Nothing, no more than the page table grants, more rights, and a page that is gone."""
    k = Kernel()
    assert held_class(k.w.machine, 1, 0, newest(k)) == 0
    k.write(1)
    assert held_class(k.w.machine, 1, 0, newest(k)) == 1
    k.start(0, "mprotect", 0, 1, R, until="pte_unlock")
    assert held_class(k.w.machine, 1, 0, newest(k)) == STALE
    k.finish(0)
    k.read(1)
    k.start(0, "munmap", until="tlb_finish_mmu")
    assert held_class(k.w.machine, 1, 0, newest(k)) == STALE + 1


def test_a_huge_entry_is_held_for_each_of_its_pages() -> None:
    """The page that is looked at may be any of the 2 MiB."""
    k = Kernel(layout="huge")
    k.write(1, 0)

    assert [held_class(k.w.machine, 1, page, newest(k, page)) for page in range(4)] == [1] * 4


def test_another_cpu_that_is_stale_makes_other_features() -> None:
    """The features differ for the same record and operation in flight, with and without a stale entry elsewhere."""

    def paused(*, warm: bool) -> Kernel:
        k = Kernel(cpus=3)
        k.write(2)
        if not warm:
            k.w.machine.evict(2, 0)
        k.start(0, "mprotect", 0, 1, R, until="flush_tlb_mm_range")
        return k

    assert seen(paused(warm=True)) != seen(paused(warm=False))


def test_a_frame_cached_under_another_page_is_an_alias() -> None:
    """The old address of a moved page, in the TLB of another CPU, while mremap holds the locks."""
    k = Kernel()
    k.write(1, 0)
    k.start(0, "mremap", 0, 1, 1, until="flush before unlock")
    moved = (kinds.READ, 0, 0, 1, 1, 0)
    with_alias = seen(k, moved)
    k.w.machine.evict(1, 0)

    assert with_alias != seen(k, moved)
    assert OTHER_CLASSES == ALIAS + 1


def test_two_operations_in_flight_meet_at_their_points() -> None:
    """A second operation makes features that neither makes alone; it does not matter which of them is on which CPU."""

    def paused(first: int, second: int, page: int = 0) -> set[int]:
        k = Kernel(cpus=4)
        k.write(3)
        k.start(first, "uffd_register")
        k.finish(first)
        k.start(first, "uffd_wp", 0, 1, until="flush_tlb_mm_range")
        if second != first:
            k.start(second, "pin", page, 1)
        return seen(k, (kinds.READ, 3, 0, 0, 1, 0))

    alone = paused(0, 0)
    met = paused(0, 1) & paused(1, 0) - alone

    assert met
    assert not met & paused(0, 1, page=1)


@pytest.mark.parametrize("version", [0, 1 << 24 | 5 << 3 | 1])
def test_classes_of_cached_entries_are_small(version: int) -> None:
    """Whatever a TLB holds, its class is below the number of classes."""
    for frame in (4, 5):
        for flags in (0, RW, RW | 0x80):
            assert 0 < tlb_class(frame << 8 | flags, version) < OTHER_CLASSES
