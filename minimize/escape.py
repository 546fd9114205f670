"""Ways out of a minimum that no single step leaves: sideways or up, and down on the other side.

A variant of the best scenario need not be simpler, and often is not. If it is interesting, it is reduced by itself; it
replaces the best scenario only if the result is simpler. Each escape pass guarantees that this was done with each
variant that it names, until one worked.

An escape is one kind of rewrite, of any operation. The declaration of each operation says which operations it can stand
for: rank, argument, pages, layouts, `simpler_as`.
"""

from collections.abc import Iterable

from shootdown.minimize.reducer import Pass, Reducer
from shootdown.scenario import Scenario


def leave_by(reducer: Reducer, variants: Iterable[Scenario], passes: Iterable[Pass]) -> None:
    """Reduce each interesting variant by these passes, until one becomes simpler than the best scenario."""
    for variant in variants:
        branch = reducer.branch(variant)
        if branch is not None:
            for reduce in passes:
                reduce(branch)
            if reducer.consider(branch.best):
                return
