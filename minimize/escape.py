"""Ways out of a minimum that no single step leaves: sideways or up, and down on the other side.

A variant of the best scenario need not be simpler, and often is not. If it is interesting, it is
reduced by itself; only if that ends simpler than the best scenario does it replace it. Each pass
that is named an escape guarantees that this has been done with each of the variants that it names,
until one worked.

An escape is one kind of rewrite, of any operation. Which operations stand for which follows from
what is declared with each of them: rank, argument, pages, layouts, `simpler_as`.
"""

from collections.abc import Iterable

from shootdown.minimize.reducer import Pass, Reducer
from shootdown.scenario import Scenario


def leave_by(reducer: Reducer, variants: Iterable[Scenario], passes: Iterable[Pass]) -> None:
    """Each interesting variant has been reduced by these passes, until one became simpler than the
    best scenario.
    """
    for variant in variants:
        branch = reducer.branch(variant)
        if branch is not None:
            for reduce in passes:
                reduce(branch)
            if reducer.consider(branch.best):
                return
