"""Fewer records: from large pieces, chosen by what random scenarios look like, to single ones."""

from collections.abc import Callable
from typing import Final

from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    COUNT,
    CPU,
    KIND,
    PAGE,
    calls,
    names_pages,
    with_records,
    without,
)

LONG: Final = 12
"""With at most this many records, removing single ones is as fast as removing larger pieces."""


def find_integer(holds: Callable[[int], bool]) -> int:
    """Return some n >= 0 such that `holds(n)` or n is 0, and not `holds(n + 1)`.

    The search doubles n until it fails, and then bisects: a small answer costs few calls, a large one costs its
    logarithm.
    """
    low, high = 0, 1
    while holds(high):
        low, high = high, 2 * high
    while low + 1 < high:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def cut_tail(reducer: Reducer) -> None:
    """Try to remove the end of a long scenario, in a number of runs that is the logarithm of its length.

    If exactly the prefixes from some length above 0 on are interesting, the result has that length.
    """
    start = reducer.best
    low, high = 0, len(start.records)
    if high <= LONG:
        return
    while low + 1 < high:
        middle = (low + high) // 2
        if reducer.consider(with_records(start, start.records[:middle])):
            high = middle
        else:
            low = middle


def keep_one_page(reducer: Reducer) -> None:
    """In a long scenario, for each page until one try works, try to remove all records that name only other pages.

    The page that is named last comes first. Most bugs are about one page, and so is the record that shows them.
    """
    records = reducer.best.records
    if len(records) <= LONG:
        return
    for keep in dict.fromkeys(record[PAGE] for record in reversed(records) if names_pages(record)):
        others = {
            at
            for at, record in enumerate(records)
            if names_pages(record) and not record[PAGE] <= keep < record[PAGE] + record[COUNT]
        }
        if reducer.consider(without(reducer.best, others)):
            return


def drop_groups(reducer: Reducer) -> None:
    """While the scenario is long, for each CPU and then for each kind, try to remove all its records at once."""
    for field in (CPU, KIND):
        for value in sorted({record[field] for record in reducer.best.records}):
            records = reducer.best.records
            group = {at for at, record in enumerate(records) if record[field] == value}
            if len(records) > LONG:
                reducer.consider(without(reducer.best, group))


def drop_records(reducer: Reducer) -> None:
    """For each record, the last first, try to remove it.

    Neighbours that can be removed together take the logarithm of their number of steps, which is ddmin's saving without
    its restarts.
    """
    end = len(reducer.best.records)
    while end > 0:
        end -= find_integer(_removes_before(reducer, end)) + 1


def _removes_before(reducer: Reducer, end: int) -> Callable[[int], bool]:
    start = reducer.best

    def holds(count: int) -> bool:
        return count <= end and reducer.consider(without(start, range(end - count, end)))

    return holds


def drop_calls(reducer: Reducer) -> None:
    """For each call, later ones first, try to remove it."""
    for at in reversed(calls(reducer.best)):
        reducer.consider(without(reducer.best, {at}))
