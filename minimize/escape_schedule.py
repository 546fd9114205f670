"""Ways out of a minimum whose operations meet in another place, in another order, or on other CPUs than in a simpler
one.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from shootdown.minimize.cpus import merge_cpus, reassign_cpus
from shootdown.minimize.deletion import drop_records
from shootdown.minimize.escape import leave_by
from shootdown.minimize.pages import compact_pages, reorder_pages
from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    ACCESSES,
    KIND,
    RUN,
    calls,
    cpus_by_first_use,
    exchange_cpus,
    moved_record,
    replaced,
    revised,
    used_cpus,
    without,
)
from shootdown.scenario import Scenario, kinds

_COMMON: Final = tuple(
    kinds.FIRST_POINT + kinds.POINTS.index(name) for name in ("commit", "flush", "return", "window")
)
"""Points that every operation reaches that takes something from an entry."""
_MEETING: Final = _COMMON[1::2]
"""The two of these at which another CPU still has what is taken."""


def escape_by_pause(reducer: Reducer) -> None:
    """Try as variants: each pause at each point that operations share, with the CPUs as they are, and with each two
    CPUs exchanged from each pause on.

    CPUs are exchanged only for the points at which another CPU still has what is taken. Any other pause is a step of
    its operation, and moves when a record before it is removed: an operation that finds something to unmap has one more
    unlock. Which CPU does the work may decide which pause is the simplest (merge-pending-unseen: a write-protection by
    a CPU that has loaded the page is met only at its flush, one by another CPU earlier).
    """
    leave_by(reducer, _other_pauses(reducer.best), (drop_records, compact_pages))


def _other_pauses(best: Scenario) -> Iterator[Scenario]:
    paused = [at for at, record in enumerate(best.records) if record[RUN]]
    for at in paused:
        for run in _COMMON:
            later = replaced(best, at, revised(best.records[at], run=run))
            yield later
            for start in paused if run in _MEETING else ():
                for low, high in combinations(range(used_cpus(best)), 2):
                    yield cpus_by_first_use(exchange_cpus(later, low, high, start))


def escape_by_cpu(reducer: Reducer) -> None:
    """Try as variants: each access on each other CPU; and each two CPUs exchanged in each stretch of records that
    starts with a pause.
    """
    leave_by(reducer, _other_cpus(reducer.best), (drop_records,))


def _other_cpus(best: Scenario) -> Iterator[Scenario]:
    used = range(used_cpus(best))
    for at, record in enumerate(best.records):
        for cpu in used if record[KIND] in ACCESSES else ():
            yield cpus_by_first_use(replaced(best, at, revised(record, cpu=cpu)))
    for low, high in combinations(used, 2):
        for start, record in enumerate(best.records):
            for end in range(start + 1, len(best.records)) if record[RUN] else ():
                yield exchange_cpus(best, low, high, start, end)


def escape_by_place(reducer: Reducer) -> None:
    """Try as variants: each access moved to the front, also without any one call that it passes; and each pausing
    record at another place.

    A pausing record is tried one place earlier, one later, and last, where it runs to completion; and with its pause
    before the last record, on a CPU of its own. A record that only holds something the whole time can begin at any
    time, and on any CPU that is free by then.
    """
    leave_by(
        reducer,
        _other_places(reducer.best),
        (drop_records, merge_cpus, reorder_pages, reassign_cpus),
    )


def _other_places(best: Scenario) -> Iterator[Scenario]:
    header, records = best
    last = len(records) - 1
    for at, record in enumerate(records):
        if record[KIND] in ACCESSES:
            first = moved_record(best, at, 0)
            yield cpus_by_first_use(first)
            # After the move, the record at a position before this one comes one later.
            passed = [call + 1 for call in calls(best) if call < at]
            yield from (cpus_by_first_use(without(first, {call})) for call in passed)
        if not record[RUN]:
            continue
        whole = replaced(best, at, revised(record, run=0))
        for put in (at - 1, at + 1, last):
            if 0 <= put <= last:
                yield cpus_by_first_use(moved_record(whole, at, put))
        if at < last - 1 and header.cpus < kinds.MAX_CPUS:
            more = Scenario(header._replace(cpus=header.cpus + 1), records)
            apart = replaced(more, at, revised(record, cpu=header.cpus))
            yield cpus_by_first_use(moved_record(apart, at, last - 1))
