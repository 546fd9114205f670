"""Ways out of a minimum that no simplification leaves: change it sideways, then reduce again.

A variant is no simpler than the best scenario, often it is less simple, but it may have become
possible to remove a record. Only if the end is simpler than the best scenario is it kept.
"""

from collections.abc import Iterable
from itertools import combinations
from typing import Final

from fuzz.minimize.cpus import reassign_cpus
from fuzz.minimize.deletion import drop_records
from fuzz.minimize.joint import as_call, calls
from fuzz.minimize.order import RUN_RANK, RUNS_BY_SIMPLICITY
from fuzz.minimize.pages import compact_pages, reorder_pages
from fuzz.minimize.reducer import Pass, Reducer
from fuzz.minimize.rewrite import (
    ACCESSES,
    cpus_by_first_use,
    rename_cpus,
    replaced,
    revised,
    used_cpus,
    with_accesses,
    with_records,
)
from fuzz.minimize.schedule import moved_record, reorder_records
from fuzz.scenario import Scenario, kinds

# Calls after which nothing of a page is left: they forbid most, and free what can be freed.
_STRONG_CALLS: Final = (kinds.MUNMAP, kinds.DONTNEED)


def escape_by_kind(reducer: Reducer) -> None:
    """Variants: all accesses reads; all accesses writes; each call one that drops its pages."""
    best = reducer.best
    variants = [with_accesses(best, access) for access in (kinds.READ, kinds.WRITE)]
    variants += [
        replaced(best, at, as_call(best.records[at], best.header, kind, 0))
        for at in calls(best)
        for kind in _STRONG_CALLS
    ]
    _escape(reducer, variants, (drop_records, compact_pages))


def escape_by_layout(reducer: Reducer) -> None:
    """Variants: each other layout, because a layout can stand for the calls that lead to it."""
    header, records = reducer.best
    layouts = range(len(kinds.LAYOUTS))
    variants = [Scenario(header._replace(layout=layout), records) for layout in layouts]
    _escape(reducer, variants, (drop_records, compact_pages))


def escape_by_place(reducer: Reducer) -> None:
    """Variants: each access moved to the front."""
    best = reducer.best
    variants = [
        cpus_by_first_use(moved_record(best, at, 0))
        for at, record in enumerate(best.records)
        if record[0] in ACCESSES
    ]
    _escape(reducer, variants, (drop_records, reorder_pages, reassign_cpus))


def escape_by_cpu(reducer: Reducer) -> None:
    """Variants: each access on each other CPU; each two CPUs exchanged in each stretch of records
    that starts with a pause.
    """
    best = reducer.best
    variants = [
        cpus_by_first_use(replaced(best, at, revised(record, cpu=cpu)))
        for at, record in enumerate(best.records)
        if record[0] in ACCESSES
        for cpu in range(used_cpus(best))
    ]
    for low, high in combinations(range(used_cpus(best)), 2):
        exchanged = rename_cpus(best, {low: high, high: low}).records
        for start, record in enumerate(best.records):
            for end in range(start + 1, len(best.records)) if record[2] else ():
                records = best.records[:start] + exchanged[start:end] + best.records[end:]
                variants.append(with_records(best, records))
    _escape(reducer, variants, (drop_records,))


def escape_by_pause(reducer: Reducer) -> None:
    """Variants: each pause at each later point."""
    best = reducer.best
    variants = [
        replaced(best, at, revised(record, run=run))
        for at, record in enumerate(best.records)
        if record[2]
        for run in RUNS_BY_SIMPLICITY[RUN_RANK[record[2]] + 1 : len(kinds.POINTS) + 1]
    ]
    _escape(reducer, variants, (drop_records,))


def escape_by_fill(reducer: Reducer) -> None:
    """Variants: each access a speculative fill, on each CPU: a fill also happens in the middle of
    an operation.
    """
    best = reducer.best
    variants = [
        replaced(best, at, revised(record, kind=kinds.FILL, cpu=cpu, run=0))
        for at, record in enumerate(best.records)
        if record[0] in ACCESSES
        for cpu in range(used_cpus(best))
    ]
    _escape(reducer, variants, (drop_records, reorder_records, drop_records))


def _escape(reducer: Reducer, variants: Iterable[Scenario], passes: Iterable[Pass]) -> None:
    """Each variant that is interesting has been reduced by the passes, until that led to a scenario
    that is simpler than the best one.
    """
    for variant in variants:
        branch = reducer.branch(variant)
        if branch is not None:
            for reduce in passes:
                reduce(branch)
            if reducer.consider(branch.best):
                return
