"""Fewer elements of a sequence that still show the same, found by asking a predicate (delta debugging, ddmin).

minimize does this for scenarios, whose records it can simplify; a sequence of events is only cut.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shorten(
    elements: Sequence[T], interesting: Callable[[list[T]], bool], *, budget: int = 2000
) -> list[T]:
    """Return elements, in order, such that none can be left out, if the budget of calls is enough for that.

    `interesting` is true of `elements`, and a pure function.
    """
    best = list(elements)
    size = len(best)
    calls = 0
    while size:
        at = 0
        taken = False
        while at < len(best):
            if calls == budget:
                return best
            calls += 1
            fewer = best[:at] + best[at + size :]
            if interesting(fewer):
                best = fewer
                taken = True
            else:
                at += size
        size = min(size, len(best))
        # At size 1, repeat until nothing can be removed: one removal may make an earlier element superfluous.
        if not (taken and size == 1):
            size //= 2
    return best
