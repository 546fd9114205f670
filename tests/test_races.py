"""Scenarios in the shape of races: what meets can meet."""

import random

import pytest

from fuzz.scenario import kinds
from fuzz.scenario.race_round import MEETS, OPERATIONS
from fuzz.scenario.races import race_scenario
from fuzz.scenario.record import Header
from tests.kernel import Kernel, prot

NAMES = [kind.name for kind in kinds.KINDS]


@pytest.mark.parametrize("first", OPERATIONS)
def test_who_meets_an_operation_does_not_wait_for_it(first: int) -> None:
    """With the first operation behind its first step, each that may meet it executes its own first one at once."""
    for second in MEETS[first]:
        k = Kernel(cpus=3)
        k.write(2)
        k.run(2, "uffd_register", 0, 2)
        k.start(0, NAMES[first], 0, 1, 1)
        k.step(0)
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
