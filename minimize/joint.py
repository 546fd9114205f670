"""Two calls turned into one that does the work of both.

Two single steps would lose the bug in between: neither the one call with only its own range nor the larger range with
both calls is interesting.
"""

from collections.abc import Iterator
from itertools import combinations

from shootdown.minimize.order import PROTECTIONS_BY_SIMPLICITY
from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    ARG,
    COUNT,
    KIND,
    PAGE,
    PROTECTION_MASK,
    calls,
    has_protection,
    names_pages,
    replaced,
    revised,
    without,
)
from shootdown.scenario import Record


def join_calls(reducer: Reducer) -> None:
    """For each two calls, until one try works, try to keep only the later or the earlier one.

    If the two are of one kind and their ranges touch, the call that is kept gets both ranges; if both have a
    protection, it is tried with each protection. The records between two calls need the first one only if it is the
    other half of the last one; and a right that is taken away and given back may stand for one that is given.
    """
    best = reducer.best
    for first, second in combinations(calls(best), 2):
        for kept, gone in ((second, first), (first, second)):
            for joined in _joined(best.records[kept], best.records[gone]):
                if reducer.consider(without(replaced(best, kept, joined), {gone})):
                    return


def _joined(kept: Record, gone: Record) -> Iterator[Record]:
    if kept[KIND] == gone[KIND] and names_pages(kept):
        low = min(kept[PAGE], gone[PAGE])
        count = max(kept[PAGE] + kept[COUNT], gone[PAGE] + gone[COUNT]) - low
        if count <= kept[COUNT] + gone[COUNT]:
            yield revised(kept, page=low, count=count)
    if has_protection(kept) and has_protection(gone):
        for protection in PROTECTIONS_BY_SIMPLICITY:
            yield revised(kept, arg=kept[ARG] & ~PROTECTION_MASK | protection)
