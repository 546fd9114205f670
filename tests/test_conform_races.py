"""Races and flush requests on the Linux that runs here, and whether a stale mapping is noticed."""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from shootdown.conform.live import races
from shootdown.conform.live.commands import HAS_COUNTERS, Command, Result
from shootdown.conform.live.driver import Driver, DriverFailed
from shootdown.conform.live.flushes import can_count, cases, compared
from shootdown.conform.live.host import host
from shootdown.conform.live.left_out import driven_on
from shootdown.optimized.policies import REGISTRY

LINUX = REGISTRY["linux"]


NAMES = [race.name for race in races.races()]


def race_named(name: str) -> races.Race:
    """Return the race."""
    return next(race for race in races.races() if race.name == name)


def test_races_have_names_of_their_own() -> None:
    """No race is listed twice."""
    assert len(set(NAMES)) == len(NAMES) >= 29


def needs_two_cpus(driver: Driver) -> None:
    """Skip if one thread cannot run beside another."""
    if driver.cpus < 2:
        pytest.skip("a race needs two CPUs, and this process may use one")


@pytest.mark.parametrize("name", NAMES[::5])
def test_what_an_operation_denies_is_used_no_more(driver: Driver, name: str) -> None:
    """After the return, and during the operation, the kernel shows nothing that the models do not show."""
    needs_two_cpus(driver)
    race = race_named(name)
    driven, _ = driven_on(host(), driver.cpus, driver.features, driver.uffd_error)
    if not races.can_race(race, driven, driver):
        pytest.skip("this host does not let the operation be driven")
    raced = races.run_race(driver, race, 20, LINUX.make(), races.allowed(race, LINUX.make()))

    assert raced.rounds == 20
    assert raced.shown[races.AFTER]
    assert raced.forbidden is None


def test_rounds_of_a_killed_process_do_not_count(driver: Driver) -> None:
    """A race whose process is killed ends with that, not with the results of its other rounds."""
    needs_two_cpus(driver)
    race = race_named(NAMES[0])
    may = races.allowed(race, LINUX.make())
    first = next(
        int(task)
        for task in Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
    )
    threading.Timer(0.1, os.kill, (first, signal.SIGKILL)).start()

    def go_on() -> None:
        for _ in range(1000):
            races.run_race(driver, race, 100, LINUX.make(), may)

    with pytest.raises(DriverFailed, match="killed"):
        go_on()


class Idle:
    """A driver that does nothing where an operation races with an access, so the old mapping stays."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.cpus = driver.cpus
        self.features = driver.features

    def run(self, commands: Sequence[Command], *, large: bool) -> list[Result]:
        """Return the results of a program without the operation."""
        idle = [c._replace(operation="NOTHING") if c.races else c for c in commands]
        return self.driver.run(idle, large=large)


@pytest.mark.parametrize(
    "name",
    [
        "mprotect p0 r / write p0 (private)",
        "munmap p0 / read p0 (private)",
        "dontneed p0 / read p0 (private)",
        "uffd_wp p0 / write p0 (private)",
        "punch p0 / read p0 (file)",
    ],
)
def test_a_stale_mapping_is_noticed(driver: Driver, name: str) -> None:
    """An access that the old mapping still serves after the return is forbidden."""
    needs_two_cpus(driver)
    race = race_named(name)
    raced = races.run_race(
        Idle(driver),
        race,
        2,
        LINUX.make(),
        races.allowed(race, LINUX.make()),
    )

    assert raced.forbidden is not None
    assert raced.forbidden.phase == races.AFTER


def test_flush_requests_are_equal_or_explained(driver: Driver) -> None:
    """In each case the kernel asks for as many flushes as the policy linux, or it is known why not."""
    if not driver.features & HAS_COUNTERS or driver.cpus < 2:
        pytest.skip("the tracepoint tlb:tlb_flush cannot be counted here")
    driven, _ = driven_on(host(), driver.cpus, driver.features, driver.uffd_error)
    counted = [case for case in cases() if can_count(case, driven, driver)]
    sides = [compared(driver, case, LINUX.make()) for case in counted]

    assert [one.case.name for one in sides if one.model != one.kernel and not one.why] == []
    assert sum(one.model == one.kernel for one in sides) > len(sides) // 2
