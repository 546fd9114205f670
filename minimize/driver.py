"""`minimize`, and the order of its passes.

How it works. A pass offers candidates, and the reducer takes one if it is simpler (`simplicity_key`)
and still interesting. Passes run until none of them changes anything any more. So the same
minimization started from its own result ends there at once, and inputs that share a bug meet in one
form as far as the passes connect their ways down.

What keeps the number of runs low. Removing records comes first, because every other pass tries some
candidates for each record. Passes that usually succeed (REMOVE, LOWER) come before those that usually
only confirm (ESCAPE), because each success makes the refusals before it worthless: they were about
another scenario. LOWER runs to its end before REMOVE is asked again: what is one-minimal seldom gets
shorter by becoming simpler. Exchanges of a record that were refused are asked again only when all
else is done (`_thorough`). No pass repeats itself, the loop does that; no candidate is run twice.

What makes the result canonical. Removing records leaves about as many forms as there are inputs;
lowering and renaming brings those together that differ in one place; the rest are minima that
differ in several places at once, or in the number of records. The escapes are for these. Nearly all
of their candidates are refused, and they take a third of all runs. So a pass has to earn its place,
and to be a rewrite of any operation rather than the way out of one minimum: `python -m bench.minima`
tells both, by two halves of the seeded faults and by mutants of the models.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from shootdown.minimize.cpus import compact_cpus, merge_cpus, reassign_cpus
from shootdown.minimize.deletion import cut_tail, drop_groups, drop_records, keep_one_page
from shootdown.minimize.escape_kinds import (
    escape_by_dropping,
    escape_by_kind,
    escape_by_layout,
    escape_by_substitute,
)
from shootdown.minimize.escape_schedule import escape_by_cpu, escape_by_pause, escape_by_place
from shootdown.minimize.fields import (
    clear_protections,
    lower_arguments,
    lower_kinds,
    lower_ranges,
    lower_runs,
    lower_shared_pages,
    lower_shared_spaces,
    rename_keys,
    split_accesses,
)
from shootdown.minimize.header import lower_header, lower_layout, map_at_the_start
from shootdown.minimize.joint import join_calls
from shootdown.minimize.pages import compact_pages, drop_pages, merge_pages, reorder_pages
from shootdown.minimize.reducer import Interesting, Judge, OutOfBudget, Pass, Reducer, canonical
from shootdown.minimize.resume import resume_by_waiting
from shootdown.minimize.schedule import (
    merge_pauses,
    merge_pauses_anywhere,
    swap_neighbours,
)
from shootdown.scenario import Scenario

REMOVE: Final[tuple[Pass, ...]] = (
    cut_tail,
    keep_one_page,
    drop_groups,
    drop_records,
    map_at_the_start,
    merge_pauses,
    drop_pages,
    compact_pages,
    compact_cpus,
    merge_cpus,
    escape_by_substitute,
    escape_by_dropping,
    resume_by_waiting,
    join_calls,
)
"""What leaves less: records, pauses, pages, CPUs; from the largest steps to the smallest. The last four apply to few
scenarios, and ask a few times there; among the ESCAPE passes they came so late that what they shorten had been
lowered first for nothing, which took 100 of 350 runs where two flushes overlap.
"""

LOWER: Final[tuple[Pass, ...]] = (
    lower_header,
    lower_shared_pages,
    lower_shared_spaces,
    lower_ranges,
    lower_runs,
    lower_layout,
    split_accesses,
    lower_kinds,
    lower_arguments,
    rename_keys,
    clear_protections,
    swap_neighbours,
    reassign_cpus,
    merge_pages,
    reorder_pages,
)
"""What leaves as much, and makes it simpler."""

ESCAPE: Final[tuple[Pass, ...]] = (
    escape_by_place,
    escape_by_kind,
    escape_by_pause,
    escape_by_layout,
)
"""What is tried when nothing of that helps any more."""


class Minimized(NamedTuple):
    """What became of a scenario."""

    scenario: Scenario
    """The simplest interesting scenario that was found; canonical."""
    runs: int
    """How often the predicate was called, at most the budget."""
    complete: bool
    """Whether no pass can simplify it further; False when the budget ran out before that was known."""


class NotInteresting(Exception):
    """The scenario to minimize does not show what it is minimized for."""


def minimize(scenario: Scenario, interesting: Interesting, *, budget: int = 400) -> Minimized:
    """The result is interesting and no less simple than ``scenario``, and a complete result
    minimizes to itself. The predicate is called at most ``budget`` times, and with canonical
    scenarios only; it must be a pure function.

    Nothing but the predicate keeps a minimization at one bug: it has to pin what tells bugs apart,
    such as the violated rule and the reason. Raises NotInteresting when it rejects ``scenario``,
    and ValueError when the budget is below 1.
    """
    if budget < 1:
        raise ValueError(f"budget is {budget}, but the scenario itself takes 1 run")
    judge = Judge(interesting, budget)
    start = canonical(scenario)
    if not judge(start):
        raise NotInteresting
    reducer = Reducer(start, judge)
    try:
        _changes(reducer, REMOVE)
        while (
            _changes(reducer, LOWER)
            or _changes(reducer, REMOVE)
            # Cheap, and they find shorter scenarios: before the thorough pass, which asks most.
            or _changes(reducer, (escape_by_cpu,))
            or _changes(reducer, (merge_pauses_anywhere,))
            or _thorough(reducer)
            # One at a time: after a success the refusals of the others would be worthless.
            or any(_changes(reducer, (escape,)) for escape in ESCAPE)
        ):
            pass
    except OutOfBudget:
        return Minimized(reducer.best, judge.runs, complete=False)
    return Minimized(reducer.best, judge.runs, complete=True)


def _thorough(reducer: Reducer) -> bool:
    """Run REMOVE and LOWER once, and ask again what was refused in other scenarios, until something
    is taken; True iff something was.
    """
    reducer.thorough = True
    try:
        return _changes(reducer, (*REMOVE, *LOWER))
    finally:
        reducer.thorough = False


def _changes(reducer: Reducer, passes: Iterable[Pass]) -> bool:
    """Run every pass once; True iff that changed the best scenario."""
    before = reducer.best
    for simplify in passes:
        simplify(reducer)
    return reducer.best != before
