"""Lower the fields of records: of one record at a time, and of all records that share a value."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from shootdown.minimize.order import (
    KIND_RANK,
    KINDS_BY_SIMPLICITY,
    PROTECTION_RANK,
    PROTECTIONS_BY_SIMPLICITY,
    RUN_RANK,
    RUNS_BY_SIMPLICITY,
)
from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    ARG,
    CPU,
    KIND,
    PAGE,
    PROTECTION_MASK,
    RUN,
    has_protection,
    is_call,
    replaced,
    revised,
    with_records,
    without,
)
from shootdown.mm.declaration import Operation
from shootdown.mm.operations import BY_NAME, BY_NUMBER
from shootdown.mm.pkeys import RIGHTS
from shootdown.scenario import Record, Scenario, kinds

# The kinds and arguments that replace a call in a try.
_SUBSTITUTES: Final = (
    (kinds.READ, 0),
    (kinds.MPROTECT, kinds.PROTECTIONS.index("none")),
    (kinds.MPROTECT, kinds.PROTECTIONS.index("r")),
    (kinds.MUNMAP, 0),
    (kinds.DONTNEED, 0),
    (kinds.FREE, 0),
)

_KEYED: Final = {kinds.PKEY_MPROTECT: 1 << kinds.PKEY_SHIFT, kinds.WRPKRU: RIGHTS}
"""How much a key adds to the argument of a call."""


def lower_shared_pages(reducer: Reducer) -> None:
    """For each first page that several records share, the highest first, try each lower one in all of them at once,
    until one works.
    """
    for value in _shared(record[PAGE] for record in reducer.best.records):
        for page in range(value):
            records = reducer.best.records
            moved = [revised(r, page=page) if r[PAGE] == value else r for r in records]
            if reducer.consider(with_records(reducer.best, moved)):
                break


def lower_shared_spaces(reducer: Reducer) -> None:
    """For each address space except the first, the highest first, try each lower one in its place everywhere, until one
    works.

    Each is tried as it is; without all forks, which may have been there only to make the space; and without the last
    fork and with one identifier less, because an identifier changes its owner when there are more spaces than
    identifiers.
    """
    for value in range(kinds.MAX_SPACES - 1, 0, -1):
        for space in range(value):
            if value not in map(_space, reducer.best.records):
                break
            header, records = reducer.best
            lower = [revised(r, arg=space) if _space(r) == value else r for r in records]
            alone = [record for record in lower if record[KIND] != kinds.FORK]
            variants = [Scenario(header, tuple(lower)), Scenario(header, tuple(alone))]
            forks = [at for at, record in enumerate(lower) if record[KIND] == kinds.FORK]
            if forks and header.asids > 1:
                fewer = header._replace(asids=header.asids - 1)
                variants.append(without(Scenario(fewer, tuple(lower)), {forks[-1]}))
            if any(map(reducer.consider, variants)):
                break


def rename_keys(reducer: Reducer) -> None:
    """Try the protection keys in the order of their first use."""
    keys = dict.fromkeys(filter(None, map(_key, reducer.best.records)))
    names = {key: number for number, key in enumerate(keys, 1)}
    records = [
        revised(record, arg=record[ARG] + (names[key] - key) * _KEYED[record[KIND]])
        if (key := _key(record))
        else record
        for record in reducer.best.records
    ]
    reducer.consider(with_records(reducer.best, records))


def _key(record: Record) -> int:
    """Return the protection key that a record names, or 0 if it names none."""
    if record[KIND] == kinds.WRPKRU:
        return record[ARG] // RIGHTS + 1
    return record[ARG] >> kinds.PKEY_SHIFT if record[KIND] == kinds.PKEY_MPROTECT else 0


def _space(record: Record) -> int | None:
    """Return the address space that a record names, or None."""
    return record[ARG] if kinds.KINDS[record[KIND]].argument is kinds.SPACE else None


def _shared(values: Iterable[int]) -> list[int]:
    counts = Counter(values)
    return sorted((value for value, count in counts.items() if value and count > 1), reverse=True)


def clear_protections(reducer: Reducer) -> None:
    """For each kind of access, try to deny it in all protections at once."""
    for bit in (kinds.PROT_EXEC, kinds.PROT_WRITE, kinds.PROT_READ):
        records = reducer.best.records
        cleared = [revised(r, arg=r[ARG] & ~bit) if has_protection(r) else r for r in records]
        reducer.consider(with_records(reducer.best, cleared))


def lower_ranges(reducer: Reducer) -> None:
    """For each record, try each smaller number of pages, at the start and at the end of its range, until one works;
    then try each lower first page.
    """
    for simpler in (_shorter_ranges, _lower_pages):
        for at, record in enumerate(reducer.best.records):
            for candidate in simpler(record):
                if reducer.consider(replaced(reducer.best, at, candidate)):
                    break


def _shorter_ranges(record: Record) -> Iterator[Record]:
    page, count = record[3:5]
    for shorter in range(1, count):
        yield revised(record, count=shorter)
        yield revised(record, page=page + count - shorter, count=shorter)


def _lower_pages(record: Record) -> Iterator[Record]:
    for page in range(record[PAGE]):
        yield revised(record, page=page)


def lower_runs(reducer: Reducer) -> None:
    """Try no pause at all; then, for each record, try each simpler pause until one works."""
    records = reducer.best.records
    reducer.consider(with_records(reducer.best, [revised(record, run=0) for record in records]))
    runs = [run for run in RUNS_BY_SIMPLICITY if run < kinds.FIRST_POINT or run in reducer.points]

    def simpler(record: Record) -> Iterator[Record]:
        for run in runs:
            if RUN_RANK[run] < RUN_RANK[record[RUN]]:
                yield revised(record, run=run)

    _lower_each(reducer, simpler)


def lower_kinds(reducer: Reducer) -> None:
    """For each access, fill or eviction, try each simpler kind, and for each call a few of them, with its own page and
    pause, until one works.

    Trying every simpler call would cost a third of all runs, and in the measured faults no other call has ever replaced
    one.
    """
    _lower_each(reducer, _simpler_kinds)


def _simpler_kinds(record: Record) -> Iterator[Record]:
    if is_call(record):
        for kind, arg in _SUBSTITUTES:
            yield revised(record, kind=kind, arg=arg)
        for name in BY_NUMBER[record[KIND]].simpler_as:
            yield in_its_place(record, BY_NAME[name])
    else:
        for kind in KINDS_BY_SIMPLICITY[: KIND_RANK[record[KIND]]]:
            yield revised(record, kind=kind)


def in_its_place(record: Record, other: Operation) -> Record:
    """Return the record with another operation: at the destination if it has one, with the argument if both
    have one.
    """
    argument = kinds.KINDS[record[KIND]].argument
    if argument.of_pages:
        return revised(record, kind=other.number, page=record[ARG], arg=0)
    if argument is other.argument:
        return revised(record, kind=other.number)
    kept = record[ARG] & PROTECTION_MASK if argument.protected and other.argument.protected else 0
    return revised(record, kind=other.number, arg=kept)


def lower_arguments(reducer: Reducer) -> None:
    """For each record, try each simpler argument, until one works; for a mapping, try each simpler type and each
    simpler protection.
    """
    _lower_each(reducer, _simpler_arguments)


def _simpler_arguments(record: Record) -> Iterator[Record]:
    arg = record[ARG]
    if has_protection(record):
        protection = arg & PROTECTION_MASK
        for mapping in range(protection, arg, PROTECTION_MASK + 1):
            yield revised(record, arg=mapping)
        for simpler in PROTECTIONS_BY_SIMPLICITY[: PROTECTION_RANK[protection]]:
            yield revised(record, arg=arg - protection + simpler)
    else:
        for simpler in range(arg):
            yield revised(record, arg=simpler)


def _lower_each(reducer: Reducer, simpler: Callable[[Record], Iterable[Record]]) -> None:
    for at, record in enumerate(reducer.best.records):
        for candidate in simpler(record):
            if reducer.substitute(at, candidate):
                break


def split_accesses(reducer: Reducer) -> None:
    """For each access to two pages that does not pause, try the load and the store of which it consists."""
    best = reducer.best
    for at, record in enumerate(best.records):
        operation = BY_NUMBER.get(record[KIND])
        if operation and operation.access and operation.argument.of_pages and not record[RUN]:
            load = (kinds.READ, record[CPU], 0, record[PAGE], 1, 0)
            store = (kinds.WRITE, record[CPU], 0, record[ARG], 1, 0)
            after = best.records[at + 1 :]
            if reducer.consider(with_records(best, (*best.records[:at], load, store, *after))):
                return
