"""Scenarios in the shape of races: operations that meet can overlap."""

import random

import pytest

from shootdown.fuzz.inputs.race_round import MEETS, OPERATIONS
from shootdown.fuzz.inputs.races import race_scenario
from shootdown.machine.geometry import FANOUT
from shootdown.scenario import kinds
from shootdown.scenario.record import Header
from tests.kernel import Kernel, prot

NAMES = [kind.name for kind in kinds.KINDS]


@pytest.mark.parametrize("first", OPERATIONS)
def test_who_meets_an_operation_does_not_wait_for_it(first: int) -> None:
    """After the first step of the first operation, each that may meet it executes its own first step at once.

    An operation that holds the lock of a VMA has released it, and is about to flush.
    """
    for second in MEETS[first]:
        k = Kernel(cpus=3)
        k.write(2)
        if kinds.UFFD_WP in (first, second):
            k.run(2, "uffd_register", 0, 2)
        k.start(0, NAMES[first], 0, 1, 1)
        k.step(0)
        if k.w.vma_readers:
            k.past(0, "vma_end_read")
        k.start(1, NAMES[second], 0, 1, prot(1) if NAMES[second] == "mmap" else 0)

        assert k.step(1), f"{NAMES[second]} waits for {NAMES[first]}"


def test_everybody_meets_somebody() -> None:
    """Each operation has partners, and each is a partner of some other one."""
    assert all(MEETS.values())
    assert set(OPERATIONS) == {second for seconds in MEETS.values() for second in seconds}


def test_a_round_needs_no_registration_of_its_own() -> None:
    """With userfaultfd among its operations a scenario begins by registering all pages."""
    scenario = race_scenario(random.Random(1), Header(2, 4), (kinds.UFFD_WP,), 32)

    assert scenario.records[0][0] == kinds.UFFD_REGISTER
    assert scenario.records[0][3:5] == (0, 4)
    assert len(scenario.records) == 32


def test_reclaim_has_private_pages_or_those_of_the_file() -> None:
    """Both kinds of page are reclaimed, whatever the header was."""
    layouts = {
        race_scenario(random.Random(seed), Header(2, 1), (kinds.SWAPOUT,), 4).header.layout
        for seed in range(16)
    }

    assert layouts == {kinds.PRIVATE, kinds.FILE}


def test_the_shrinker_has_a_huge_zero_page() -> None:
    """Each round maps a huge region anew, in a world that uses the huge zero page."""
    scenario = race_scenario(random.Random(1), Header(2, 1), (kinds.SHRINK, kinds.MUNMAP), 8)

    assert scenario.header.layout == kinds.HUGE
    assert scenario.header.machine & kinds.HUGE_ZERO
    assert scenario.header.pages == FANOUT
    kind, _, _, page, count, arg = scenario.records[0]
    assert (kind, page, count) == (kinds.MMAP, 0, FANOUT)
    assert arg == prot(kinds.PROT_READ | kinds.PROT_WRITE, kinds.MAP_HUGE)
