"""`minimize`, and the order of its passes.

How it works. A pass offers candidates, and the reducer takes one if it is simpler (`simplicity_key`)
and still interesting. Passes run until none of them changes anything. So a minimization that starts from its own result
ends there at once, and inputs that share a bug reach one form, as far as the passes connect their paths.

What keeps the number of runs low. Removing records comes first, because every other pass tries some
candidates for each record. Passes that usually succeed (REMOVE, LOWER) come before those that usually only confirm
(ESCAPE), because each success makes the earlier refusals worthless: they were about another scenario. LOWER runs to its
end before REMOVE runs again: a one-minimal scenario seldom gets shorter by becoming simpler. Refused exchanges of a
record are tried again only when everything else is done (`_thorough`). No pass repeats itself, because the loop does
that; no candidate runs twice.

What makes the result canonical. Removing records leaves about as many forms as there are inputs. Lowering and renaming
unite the forms that differ in one place. The rest are minima that differ in several places at once, or in the number of
records: the escapes are for these. Nearly all candidates of the escapes are refused, and they take a third of all runs.
So an escape has to earn its place, and has to be a rewrite of any operation, not the way out of one minimum. `python -m
bench.minima` measures both, with two halves of the seeded faults and with mutants of the models.
"""

from collections.abc import Collection, Iterable
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
from shootdown.scenario import Scenario, kinds

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
"""Passes that leave less: fewer records, pauses, pages, CPUs; from the largest steps to the smallest. The last four
apply to few scenarios, and take a few runs there. Among the ESCAPE passes they came so late that the records they
remove had been lowered first for nothing, which took 100 of 350 runs where two flushes overlap.
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
"""Passes that leave as much, but make it simpler."""

ESCAPE: Final[tuple[Pass, ...]] = (
    escape_by_place,
    escape_by_kind,
    escape_by_pause,
    escape_by_layout,
)
"""Passes that are tried when none of the others helps."""


class Minimized(NamedTuple):
    """The result of a minimization."""

    scenario: Scenario
    """The simplest interesting scenario that was found; canonical."""
    runs: int
    """How often the predicate was called, at most the budget."""
    complete: bool
    """Whether no pass can simplify it further; False when the budget ran out before that was known."""


class NotInteresting(Exception):
    """The scenario to minimize does not show what it is minimized for."""


def minimize(
    scenario: Scenario,
    interesting: Interesting,
    *,
    budget: int = 400,
    points: Collection[str] = kinds.POINTS,
) -> Minimized:
    """Return an interesting scenario that is at least as simple as `scenario`; a complete result minimizes to itself.

    `interesting`: the predicate, a pure function. It is called at most `budget` times, and with canonical scenarios
    only. Nothing else keeps a minimization at one bug: the predicate has to fix what tells bugs apart, such as the
    violated rule and the reason.
    `points`: where the strategy can stop (FlushStrategy.points); a pause at any other point changes nothing, and would
    take a run.
    Errors: NotInteresting when the predicate rejects `scenario`; ValueError when the budget is below 1.
    """
    if budget < 1:
        raise ValueError(f"budget is {budget}, but the scenario itself takes 1 run")
    judge = Judge(interesting, budget)
    start = canonical(scenario)
    if not judge(start):
        raise NotInteresting
    reducer = Reducer(start, judge, kinds.pauses_at(points))
    try:
        _changes(reducer, REMOVE)
        while (
            _changes(reducer, LOWER)
            or _changes(reducer, REMOVE)
            # These are cheap and find shorter scenarios, so they come before the thorough pass, which takes the most
            # runs.
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
    """Run REMOVE and LOWER once more, and retry exchanges that were refused in other scenarios, until something is
    taken; return whether something was.
    """
    reducer.thorough = True
    try:
        return _changes(reducer, (*REMOVE, *LOWER))
    finally:
        reducer.thorough = False


def _changes(reducer: Reducer, passes: Iterable[Pass]) -> bool:
    """Run every pass once; return whether the best scenario changed."""
    before = reducer.best
    for simplify in passes:
        simplify(reducer)
    return reducer.best != before
