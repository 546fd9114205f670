"""The one place where candidates are judged."""

import pytest

from shootdown.minimize.deletion import find_integer
from shootdown.minimize.reducer import Judge, OutOfBudget, Reducer
from shootdown.scenario import Header, Scenario, kinds
from tests.toy_models import story

POINTS = kinds.pauses_at(kinds.POINTS)
LONG = story("cpu0 read p1\ncpu1 write p1\ncpu2 read p1")
SHORT = story("cpu1 write p1")
SHORTER = story("cpu0 read p0")


def has_record(scenario: Scenario) -> bool:
    """Return the predicate of these tests: there is a record."""
    return bool(scenario.records)


def reducer(budget: int = 100) -> tuple[Reducer, Judge]:
    """Return a reducer that starts from LONG, and its judge."""
    judge = Judge(has_record, budget)
    return Reducer(LONG, judge, POINTS), judge


def test_takes_what_is_simpler_and_interesting() -> None:
    """A candidate that is simpler and interesting becomes the best scenario."""
    reducing, _ = reducer()

    assert reducing.consider(SHORT)
    assert reducing.best == SHORT


def test_refuses_what_is_not_interesting() -> None:
    """A candidate that the predicate rejects changes nothing."""
    reducing, _ = reducer()

    assert not reducing.consider(Scenario(LONG.header, ()))
    assert reducing.best == LONG


def test_what_is_not_simpler_costs_no_run() -> None:
    """The predicate is not called for the best scenario or for one that is less simple."""
    reducing, judge = reducer()
    reducing.consider(SHORT)

    assert not reducing.consider(SHORT)
    assert not reducing.consider(LONG)
    assert judge.runs == 1


def test_no_scenario_is_run_twice() -> None:
    """A verdict is kept, also for another scenario with the same canonical form."""
    reducing, judge = reducer()
    empty = Scenario(LONG.header, ())

    for candidate in (empty, empty, Scenario(Header(*LONG.header), ())):
        assert not reducing.consider(candidate)

    assert judge.runs == 1


def test_candidates_are_made_canonical() -> None:
    """A field out of range is reduced before the candidate is judged, so best stays canonical."""
    reducing, _ = reducer()
    kind, _, run, _, count, arg = SHORTER.records[0]
    beyond = Scenario(Header(1, 1), ((kind, 7, run, 5, count, arg),))

    assert reducing.consider(beyond)
    assert reducing.best == Scenario(Header(1, 1), SHORTER.records)


def test_out_of_budget() -> None:
    """The call that would exceed the budget raises without a run; known verdicts are still returned."""
    reducing, judge = reducer(budget=1)
    reducing.consider(SHORT)

    with pytest.raises(OutOfBudget):
        reducing.consider(SHORTER)

    assert judge.runs == 1
    assert not reducing.consider(SHORT)
    assert reducing.best == SHORT


def test_refused_exchange_is_asked_again_only_when_thorough() -> None:
    """A refused exchange of a call costs no run in the next scenario, until everything is tried again."""
    start = story("cpu0 read p0\ncpu1 munmap p1 until ack")
    other = story("cpu1 munmap p1 until ack")
    end = story("cpu1 munmap p1")
    judge = Judge(lambda scenario: scenario in (other, end), 100)
    reducing = Reducer(start, judge, POINTS)
    assert not reducing.substitute(1, story("cpu1 munmap p1").records[0])
    assert reducing.consider(other)

    assert not reducing.substitute(0, end.records[0])
    assert judge.runs == 2
    reducing.thorough = True
    assert reducing.substitute(0, end.records[0])
    assert (reducing.best, reducing.thorough) == (end, False)


def test_branch_goes_its_own_way() -> None:
    """A branch starts from a scenario that is less simple and leaves the reducer's best alone."""
    reducing, judge = reducer()
    reducing.consider(SHORT)
    branch = reducing.branch(LONG)

    assert branch is not None
    assert branch.consider(SHORTER)
    assert reducing.best == SHORT
    assert judge.runs == 3


def test_branch_starts_from_interesting_scenarios_only() -> None:
    """There is no branch from a scenario that the predicate rejects."""
    reducing, _ = reducer()

    assert reducing.branch(Scenario(LONG.header, ())) is None


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 8, 100])
def test_find_integer_finds_the_limit(limit: int) -> None:
    """For a monotone predicate the result is the last number for which it holds, in few calls."""
    asked: list[int] = []

    def holds(number: int) -> bool:
        asked.append(number)
        return number <= limit

    assert limit == find_integer(holds)
    assert len(asked) <= 2 * (limit + 1).bit_length() + 1
