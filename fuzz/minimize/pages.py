"""Fewer and lower pages.

No renaming is taken for granted: pages 0 to 3 share a page table and 4 to 7 another, a huge page
spans four, and a table is freed only when all its pages are gone.
"""

from itertools import combinations

from fuzz.minimize.reducer import Reducer
from fuzz.minimize.rewrite import names_pages, rename_pages


def compact_pages(reducer: Reducer) -> None:
    """Tried: only pages at which a range starts or ends, moved together; then each smaller number
    of pages, with all above merged into the last, until that worked once.
    """
    pages = reducer.best.header.pages
    ends: set[int] = set()
    for record in reducer.best.records:
        if names_pages(record):
            ends |= {record[3], record[3] + record[4] - 1}
    names = [max(0, sum(end <= page for end in ends) - 1) for page in range(pages)]
    reducer.consider(rename_pages(reducer.best, names, max(1, len(ends))))
    pages = reducer.best.header.pages
    for fewer in range(1, pages):
        names = [min(page, fewer - 1) for page in range(pages)]
        if reducer.consider(rename_pages(reducer.best, names, fewer)):
            return


def merge_pages(reducer: Reducer) -> None:
    """For each two neighbouring pages, higher ones first, has tried to make them one."""
    for low in reversed(range(reducer.best.header.pages - 1)):
        pages = reducer.best.header.pages
        names = [page - (page > low) for page in range(pages)]
        reducer.consider(rename_pages(reducer.best, names, pages - 1))


def reorder_pages(reducer: Reducer) -> None:
    """Tried: pages named by first use, and each exchange of two pages."""
    pages = reducer.best.header.pages
    order: dict[int, None] = {}
    for record in reducer.best.records:
        if names_pages(record):
            order.update(dict.fromkeys(range(record[3], record[3] + record[4])))
    order.update(dict.fromkeys(range(pages)))
    by_first_use = {page: name for name, page in enumerate(order)}
    reducer.consider(rename_pages(reducer.best, [by_first_use[p] for p in range(pages)], pages))
    for low, high in combinations(range(pages), 2):
        names = list(range(pages))
        names[low], names[high] = high, low
        reducer.consider(rename_pages(reducer.best, names, pages))
