"""The order of records: fewer interruptions, and a canonical order of those that commute."""

from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    ACCESSES,
    CPU,
    RUN,
    cpus_by_first_use,
    moved_record,
    replaced,
    revised,
    without,
)
from shootdown.scenario import Scenario, kinds


def merge_pauses(reducer: Reducer) -> None:
    """For each `run`, try to make it part of the previous record of its CPU, at the place of either of the two, up to
    the pause of the `run`.
    """
    for at in reversed(range(len(reducer.best.records))):
        best = reducer.best
        before = _paused_by(best, at)
        if before is not None:
            merged = revised(best.records[before], run=best.records[at][RUN])
            if not reducer.consider(without(replaced(best, before, merged), {at})):
                reducer.consider(without(replaced(best, at, merged), {before}))


def merge_pauses_anywhere(reducer: Reducer) -> None:
    """For each `run`, and each access before the last record that lets a paused operation finish, try to make it part
    of the previous record of its CPU.

    The place is that of the previous record, and each named point is tried until one works: "until unlock" and again
    "until unlock" may be "until ack", and "until flush" and a load may be "until return".
    """
    for at in reversed(range(len(reducer.best.records))):
        before = _resumed_by(reducer.best, at)
        if before is not None:
            best = reducer.best
            for point in reducer.points:
                merged = revised(best.records[before], run=point)
                if reducer.consider(without(replaced(best, before, merged), {at})):
                    break


def _paused_by(scenario: Scenario, at: int) -> int | None:
    """Return the position of the previous record of the same CPU for a `run`; None for other kinds."""
    kind, cpu, *_ = scenario.records[at]
    if kind != kinds.RUN:
        return None
    return next((i for i in reversed(range(at)) if scenario.records[i][CPU] == cpu), None)


def _resumed_by(scenario: Scenario, at: int) -> int | None:
    """Return the position of the record before a `run`, as `_paused_by` does.

    Also return that of the record that pauses before an access of its CPU, if records follow the access.
    """
    records = scenario.records
    kind, cpu, *_ = records[at]
    if kind not in ACCESSES or at + 1 == len(records):
        return _paused_by(scenario, at)
    before = next((i for i in reversed(range(at)) if records[i][CPU] == cpu), None)
    return before if before is not None and records[before][RUN] else None


def swap_neighbours(reducer: Reducer) -> None:
    """Try to exchange each two neighbouring records, with CPUs named by first use: records that commute end in one
    order.
    """
    for at in range(len(reducer.best.records) - 1):
        reducer.consider(cpus_by_first_use(moved_record(reducer.best, at + 1, at)))
