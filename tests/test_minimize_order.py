"""The order of simplicity: total, shortlex, and as a reader would have it."""

from itertools import pairwise

from hypothesis import given

from fuzz.minimize import simplicity_key
from fuzz.minimize.order import (
    KINDS_BY_SIMPLICITY,
    PROTECTIONS_BY_SIMPLICITY,
    RUNS_BY_SIMPLICITY,
)
from fuzz.scenario import Scenario, kinds
from tests.strategies import any_scenario
from tests.toy_models import story


@given(any_scenario(4), any_scenario(4))
def test_distinct_scenarios_have_distinct_keys(first: Scenario, second: Scenario) -> None:
    """Two canonical scenarios have one key iff they are equal, so the order is total."""
    assert (first == second) == (simplicity_key(first) == simplicity_key(second))


@given(any_scenario(8), any_scenario(8))
def test_fewer_records_are_simpler(first: Scenario, second: Scenario) -> None:
    """Whatever else differs, the scenario with fewer records is the simpler one."""
    if len(first.records) < len(second.records):
        assert simplicity_key(first) < simplicity_key(second)


def test_every_value_has_its_place() -> None:
    """Each kind, each value of the run field and each protection occurs once in its order."""
    runs = kinds.FIRST_POINT + len(kinds.POINTS)

    assert sorted(KINDS_BY_SIMPLICITY) == list(range(len(kinds.KINDS)))
    assert sorted(RUNS_BY_SIMPLICITY) == list(range(runs))
    assert sorted(PROTECTIONS_BY_SIMPLICITY) == list(range(len(kinds.PROTECTIONS)))


def test_simpler_stories_come_first() -> None:
    """Calls count before pauses, pauses before the header, the header before what records say."""
    stories = [
        story("cpu0 read p0", cpus=1, pages=1),
        story("cpu0 write p0", cpus=1, pages=1),
        story("cpu0 read p1", cpus=1, pages=2),
        story("cpu1 read p0", cpus=2, pages=1),
        story("cpu0 read p0 until lock", cpus=1, pages=1),
        story("cpu0 read p0 for 1", cpus=1, pages=1),
        story("cpu0 mprotect p0 r", cpus=1, pages=1),
        story("cpu0 mprotect p0 rw", cpus=1, pages=1),
        story("cpu0 mprotect p1 r", cpus=1, pages=2),
        story("cpu0 mprotect p0-p1 r", cpus=1, pages=2),
        story("cpu0 munmap p0", cpus=1, pages=2),
        story("cpu0 mprotect p0 r until flush", cpus=1, pages=1),
        story("cpu0 mprotect p0 r for 1", cpus=1, pages=1),
        story("cpu0 read p0\ncpu0 read p0", cpus=1, pages=1),
    ]

    for simpler, other in pairwise(stories):
        assert simplicity_key(simpler) < simplicity_key(other)
