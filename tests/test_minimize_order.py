"""The order of simplicity: total, shortlex, and as a reader would have it."""

from itertools import pairwise

import pytest
from hypothesis import given

from shootdown.minimize import length, simplicity_key
from shootdown.minimize.order import (
    KINDS_BY_SIMPLICITY,
    PROTECTIONS_BY_SIMPLICITY,
    RUNS_BY_SIMPLICITY,
)
from shootdown.scenario import Scenario, kinds
from tests.strategies import any_scenario
from tests.toy_models import story


@given(any_scenario(4), any_scenario(4))
def test_distinct_scenarios_have_distinct_keys(first: Scenario, second: Scenario) -> None:
    """Two canonical scenarios have one key iff they are equal, so the order is total."""
    assert (first == second) == (simplicity_key(first) == simplicity_key(second))


@given(any_scenario(8), any_scenario(8))
def test_shorter_is_simpler(first: Scenario, second: Scenario) -> None:
    """Whatever else differs, the shorter scenario is the simpler one."""
    if length(first) < length(second):
        assert simplicity_key(first) < simplicity_key(second)


@pytest.mark.parametrize(
    ("records", "long"),
    [
        ("", 0),
        ("cpu0 read p0\ncpu0 mprotect p0-p1 rx\ncpu0 exec p0", 3),
        ("cpu0 exec p0 until fault\ncpu1 mprotect p0-p1 rx", 3),
        ("cpu0 fork for 3\ncpu0 fill p0\ncpu0 run until window\ncpu0 run", 6),
    ],
)
def test_length_counts_records_and_pauses(records: str, long: int) -> None:
    """A record counts 1 and its pause counts 1, a number of steps or a point; fields and header do not count."""
    assert length(story(records)) == long


def test_every_value_has_its_place() -> None:
    """Each kind, each value of the run field and each protection occurs once in its order."""
    runs = kinds.FIRST_POINT + len(kinds.POINTS)

    assert sorted(KINDS_BY_SIMPLICITY) == list(range(len(kinds.KINDS)))
    assert sorted(RUNS_BY_SIMPLICITY) == list(range(runs))
    assert sorted(PROTECTIONS_BY_SIMPLICITY) == list(range(len(kinds.PROTECTIONS)))


def test_simpler_stories_come_first() -> None:
    """The length counts before calls, calls before pauses, pauses before the header, and the header before the fields
    of records.
    """
    stories = [
        story("cpu0 read p0", cpus=1, pages=1),
        story("cpu0 write p0", cpus=1, pages=1),
        story("cpu0 read p1", cpus=1, pages=2),
        story("cpu1 read p0", cpus=2, pages=1),
        story("cpu0 mprotect p0 r", cpus=1, pages=1),
        story("cpu0 mprotect p0 rw", cpus=1, pages=1),
        story("cpu0 mprotect p1 r", cpus=1, pages=2),
        story("cpu0 mprotect p0-p1 r", cpus=1, pages=2),
        story("cpu0 munmap p0", cpus=1, pages=2),
        story("cpu0 read p0\ncpu0 read p0", cpus=1, pages=1),
        story("cpu0 read p0 until lock", cpus=1, pages=1),
        story("cpu0 read p0 for 1", cpus=1, pages=1),
        story("cpu0 read p0\ncpu0 mprotect p0 r", cpus=1, pages=1),
        story("cpu0 mprotect p0 r until flush", cpus=1, pages=1),
        story("cpu0 mprotect p0 r for 1", cpus=1, pages=1),
        story("cpu0 read p0\ncpu0 read p0\ncpu0 read p0", cpus=1, pages=1),
    ]

    for simpler, other in pairwise(stories):
        assert simplicity_key(simpler) < simplicity_key(other)
