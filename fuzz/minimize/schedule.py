"""The order of records: fewer interruptions, and a canonical order of those that commute."""

from fuzz.minimize.reducer import Reducer
from fuzz.minimize.rewrite import cpus_by_first_use, replaced, revised, with_records, without
from fuzz.scenario import Scenario, kinds


def merge_pauses(reducer: Reducer) -> None:
    """Each ``run`` has tried to be part of the record that its CPU had before: at the place of
    either of the two, up to where the ``run`` pauses.
    """
    for at in reversed(range(len(reducer.best.records))):
        records = reducer.best.records
        kind, cpu, run, *_ = records[at]
        before = next((i for i in reversed(range(at)) if records[i][1] == cpu), None)
        if kind == kinds.RUN and before is not None:
            merged = revised(records[before], run=run)
            early = without(replaced(reducer.best, before, merged), {at})
            late = without(replaced(reducer.best, at, merged), {before})
            if not reducer.consider(early):
                reducer.consider(late)


def reorder_records(reducer: Reducer) -> None:
    """Each record has tried each other place, neighbours first, with its pause and without, and
    with CPUs named by first use. So what commutes ends up in one order.
    """
    size = len(reducer.best.records)
    for distance in range(1, size):
        for low in range(size - distance):
            high = low + distance
            if not _consider_moved(reducer, high, low):
                _consider_moved(reducer, low, high)


def _consider_moved(reducer: Reducer, take: int, put: int) -> bool:
    moved = moved_record(reducer.best, take, put)
    unpaused = replaced(moved, put, revised(moved.records[put], run=0))
    return any(reducer.consider(cpus_by_first_use(variant)) for variant in (moved, unpaused))


def moved_record(scenario: Scenario, take: int, put: int) -> Scenario:
    """The scenario with the record at position ``take`` moved to position ``put``."""
    records = list(scenario.records)
    records.insert(put, records.pop(take))
    return with_records(scenario, records)
