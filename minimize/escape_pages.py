"""Ways out of a minimum in which something lies on another page, or an access comes at another time, than in a simpler
one.

Each drops or adds a record and renames or moves others at once; neither half is interesting by itself.
"""

from itertools import combinations

from shootdown.minimize.escape import with_windows
from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    ACCESSES,
    ARG,
    COUNT,
    CPU,
    KIND,
    PAGE,
    RUN,
    calls,
    rename_pages,
    revised,
    with_records,
    without,
)
from shootdown.scenario import Record, Scenario, kinds

_BY_OFFSET = (kinds.PUNCH, kinds.WRITEBACK)
"""Kinds whose page is an offset in the file, which stays when a mapping moves."""


def undo_moves(reducer: Reducer) -> None:
    """For each mremap, has tried to do without it, with what comes behind it named by where it was before, and with the
    pauses as they are or in windows.

    Where nothing has been moved away something has to be unmapped first, and a pause may come to lie in that.
    """
    for at, record in enumerate(reducer.best.records):
        if record[KIND] == kinds.MREMAP:
            header, records = reducer.best
            names = list(range(header.pages))
            names[record[PAGE]], names[record[ARG]] = record[ARG], record[PAGE]
            renamed = rename_pages(Scenario(header, records[at + 1 :]), names, header.pages).records
            behind = [
                old if old[KIND] in _BY_OFFSET else new
                for old, new in zip(records[at + 1 :], renamed, strict=True)
            ]
            moved = Scenario(header, (*records[:at], *behind))
            if any(map(reducer.consider, (moved, *with_windows(moved)))):
                return


def drop_with_page(reducer: Reducer) -> None:
    """For each call on one page, has tried to drop the call and to make that page and its neighbour one.

    Two pages are there where an operation on the one spares what it does to the other.
    """
    best = reducer.best
    pages = best.header.pages
    for low in range(pages - 1):
        names = [page - (page > low) for page in range(pages)]
        for at in calls(best):
            alone = best.records[at][COUNT] == 1 and best.records[at][PAGE] in (low, low + 1)
            if alone and reducer.consider(rename_pages(without(best, {at}), names, pages - 1)):
                return


def repeat_paused_access(reducer: Reducer) -> None:
    """For each paused access, has tried to complete it, and to repeat it where its CPU goes on."""
    best = reducer.best
    for at, record in enumerate(best.records):
        if record[KIND] in ACCESSES and record[RUN]:
            again = revised(record, run=0)
            behind = list(best.records[at + 1 :])
            on = (i for i, other in enumerate(behind) if other[CPU] == record[CPU])
            behind.insert(next(on, len(behind)), again)
            if reducer.consider(with_records(best, (*best.records[:at], again, *behind))):
                return


def split_copies(reducer: Reducer) -> None:
    """For each copy that does not pause, has tried the load and the store that it is made of."""
    best = reducer.best
    for at, record in enumerate(best.records):
        if record[KIND] == kinds.COPY and not record[RUN]:
            load = (kinds.READ, record[CPU], 0, record[PAGE], 1, 0)
            store = (kinds.WRITE, record[CPU], 0, record[ARG], 1, 0)
            behind = best.records[at + 1 :]
            if reducer.consider(with_records(best, (*best.records[:at], load, store, *behind))):
                return


def without_huge_pages(reducer: Reducer) -> None:
    """Has tried small pages in the place of huge ones: single pages, with paused accesses at the end and to completion,
    and each other pause at each point; and without the calls that split one, with a store in the place of a load, and
    each copy of a page to itself made one to the next page.

    A huge page has one entry and another lock, so what pauses on it pauses elsewhere on a small page.
    The small pages of one that was split are alike, as no others are.
    """
    header, records = reducer.best
    if header.layout != kinds.HUGE:
        return
    single = [revised(record, count=1) for record in records]
    late = [record for record in single if record[KIND] in ACCESSES and record[RUN]]
    small = [record for record in single if record not in late]
    small += [revised(record, run=0) for record in late]
    private = header._replace(layout=kinds.PRIVATE)
    for at, record in enumerate(small):
        for run in range(kinds.FIRST_POINT, kinds.WINDOW) if record[RUN] else ():
            moved = (*small[:at], revised(record, run=run), *small[at + 1 :])
            if reducer.consider(Scenario(private, moved)):
                return
    split = [record for record in records if record[KIND] != kinds.DONTNEED]
    reducer.consider(Scenario(private, tuple(map(_unlike, split))))


def _unlike(record: Record) -> Record:
    if record[KIND] == kinds.READ:
        return revised(record, kind=kinds.WRITE)
    if record[KIND] == kinds.COPY and record[ARG] == record[PAGE]:
        return revised(record, arg=record[PAGE] ^ 1)
    return record


def migrate_alone(reducer: Reducer) -> None:
    """If a page is migrated, by itself or by a hint fault, has tried a load, a store and the migration by one CPU."""
    header, records = reducer.best
    for record in records:
        moves = record[KIND] == kinds.NUMA_SCAN and record[ARG]
        if moves or record[KIND] == kinds.MIGRATE:
            plain = revised(record, kind=kinds.READ, run=0, count=1, arg=0)
            store, migrate = revised(plain, kind=kinds.WRITE), revised(plain, kind=kinds.MIGRATE)
            if reducer.consider(Scenario(header, (plain, store, migrate))):
                return


def last_of_two(reducer: Reducer) -> None:
    """If two calls are of one kind, has tried to keep the last one alone, at each point: behind the first access, by
    the same CPU, and in front of a load by the next one.

    A fault in flight on what the first call has left behind may stand for a pause of the last one.
    """
    header, records = reducer.best
    kinds_of_calls = [records[at][KIND] for at in calls(reducer.best)]
    accesses = [r for r in records if r[KIND] in ACCESSES and not r[RUN]]
    if len(kinds_of_calls) == len(set(kinds_of_calls)) or not accesses or header.cpus == 1:
        return
    first, last = accesses[0], records[calls(reducer.best)[-1]]
    load = (kinds.READ, (first[CPU] + 1) % header.cpus, 0, last[PAGE], 1, 0)
    for run in range(kinds.FIRST_POINT, kinds.WINDOW):
        paused = revised(last, cpu=first[CPU], run=run)
        if reducer.consider(Scenario(header, (first, paused, load))):
            return


def join_ranges(reducer: Reducer) -> None:
    """For each two calls of one kind whose ranges touch, has tried to have the last one do it all.

    What happens between the two needs the first one done only where it is the other half of the last one.
    """
    best = reducer.best
    records = best.records
    for at, behind in combinations(calls(best), 2):
        first, last = records[at], records[behind]
        low = min(first[PAGE], last[PAGE])
        count = max(first[PAGE] + first[COUNT], last[PAGE] + last[COUNT]) - low
        if first[KIND] == last[KIND] and count <= first[COUNT] + last[COUNT]:
            whole = revised(last, page=low, count=count)
            rest = without(
                Scenario(best.header, (*records[:behind], whole, *records[behind + 1 :])), {at}
            )
            if reducer.consider(rest):
                return
