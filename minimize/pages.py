"""Fewer and lower pages.

No renaming of pages is safe without a try: pages 0 to 3 share one page table and 4 to 7 another, a huge page spans
four, and a table is freed only when all its pages are gone.
"""

from itertools import combinations, groupby
from operator import itemgetter

from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    ACCESSES,
    COUNT,
    CPU,
    KIND,
    PAGE,
    RUN,
    names_pages,
    rename_pages,
    revised,
    with_records,
)
from shootdown.scenario import Record, Scenario, kinds


def compact_pages(reducer: Reducer) -> None:
    """Try only the pages at which a range starts or ends, moved together; then, until one works, try each smaller
    number of pages, with all higher pages merged into the last.
    """
    pages = reducer.best.header.pages
    ends: set[int] = set()
    for record in reducer.best.records:
        if names_pages(record):
            ends |= {record[PAGE], record[PAGE] + record[COUNT] - 1}
    names = [max(0, sum(end <= page for end in ends) - 1) for page in range(pages)]
    reducer.consider(rename_pages(reducer.best, names, max(1, len(ends))))
    pages = reducer.best.header.pages
    for fewer in range(1, pages):
        names = [min(page, fewer - 1) for page in range(pages)]
        if reducer.consider(rename_pages(reducer.best, names, fewer)):
            return


def drop_pages(reducer: Reducer) -> None:
    """For each page, higher ones first, try to do without it: the records that name only it are removed, and all higher
    pages move down by one.

    If a page is unmapped first so that a page table may be freed, the page and that munmap can only be removed
    together: without the page there is no need for the munmap, and without the munmap the page keeps the table.
    """
    for gone in reversed(range(reducer.best.header.pages)):
        pages = reducer.best.header.pages
        if pages > 1:
            records = [left for r in reducer.best.records if (left := _without_page(r, gone))]
            header = reducer.best.header._replace(pages=pages - 1)
            reducer.consider(Scenario(header, tuple(records)))


def _without_page(record: Record, gone: int) -> Record | None:
    """Return the record for a scenario that lacks a page; None when nothing of the record is left."""
    if not names_pages(record):
        return record
    kind, _, _, page, count, arg = record
    end = page + count
    if kinds.KINDS[kind].argument.of_pages:
        if arg == gone:
            return None
        arg -= arg > gone
    page, end = page - (page > gone), end - (end > gone)
    return revised(record, page=page, count=end - page, arg=arg) if end > page else None


def merge_pages(reducer: Reducer) -> None:
    """For each two neighbouring pages, higher ones first, try to make them one."""
    for low in reversed(range(reducer.best.header.pages - 1)):
        pages = reducer.best.header.pages
        names = [page - (page > low) for page in range(pages)]
        reducer.consider(rename_pages(reducer.best, names, pages - 1))


def reorder_pages(reducer: Reducer) -> None:
    """Try pages named by first use, and each exchange of two pages; the latter also with neighbouring accesses of a CPU
    in the order of their new pages.
    """
    pages = reducer.best.header.pages
    order: dict[int, None] = {}
    for record in reducer.best.records:
        if names_pages(record):
            order.update(dict.fromkeys(range(record[PAGE], record[PAGE] + record[COUNT])))
    order.update(dict.fromkeys(range(pages)))
    by_first_use = {page: name for name, page in enumerate(order)}
    reducer.consider(rename_pages(reducer.best, [by_first_use[p] for p in range(pages)], pages))
    for low, high in combinations(range(pages), 2):
        names = list(range(pages))
        names[low], names[high] = high, low
        exchanged = rename_pages(reducer.best, names, pages)
        if not reducer.consider(exchanged):
            reducer.consider(_accesses_sorted(exchanged))


def _accesses_sorted(scenario: Scenario) -> Scenario:
    """Return the scenario with each stretch of accesses of one CPU sorted by page; none of these accesses pauses."""
    records: list[Record] = []
    for cpu, stretch in groupby(scenario.records, _cpu_of_access):
        accesses = list(stretch)
        records += accesses if cpu is None else sorted(accesses, key=itemgetter(PAGE))
    return with_records(scenario, records)


def _cpu_of_access(record: Record) -> int | None:
    return record[CPU] if record[KIND] in ACCESSES and not record[RUN] else None
