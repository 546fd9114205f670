"""Scenarios made from scenarios: the pure functions with which the passes build their candidates.

Results need not be canonical (a range may end after the last page, a field may be one that the new kind does not use);
the reducer makes them canonical.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from shootdown.scenario import Header, Record, Scenario, kinds

KIND: Final = 0
CPU: Final = 1
RUN: Final = 2
PAGE: Final = 3
COUNT: Final = 4
ARG: Final = 5
"""Positions of the fields of a record."""

ACCESSES: Final = (kinds.READ, kinds.WRITE, kinds.EXEC)
PROTECTION_MASK: Final = (1 << kinds.MAP_SHIFT) - 1
"""The bits of an argument that hold the protection, if it has one."""
_NOT_CALLS: Final = (*ACCESSES, kinds.RUN, kinds.FILL, kinds.EVICT)


def is_call(record: Record) -> bool:
    """Return whether the record starts an operation of the kernel other than a page fault."""
    return record[KIND] not in _NOT_CALLS


def names_pages(record: Record) -> bool:
    """Return whether the record names a page or a range."""
    return kinds.KINDS[record[KIND]].pages != "none"


def has_protection(record: Record) -> bool:
    """Return whether the low bits of the record's argument are a protection."""
    return kinds.KINDS[record[KIND]].argument.protected


def revised(
    record: Record,
    *,
    kind: int | None = None,
    cpu: int | None = None,
    run: int | None = None,
    page: int | None = None,
    count: int | None = None,
    arg: int | None = None,
) -> Record:
    """Return the record with other values in the given fields."""
    return (
        record[KIND] if kind is None else kind,
        record[CPU] if cpu is None else cpu,
        record[RUN] if run is None else run,
        record[PAGE] if page is None else page,
        record[COUNT] if count is None else count,
        record[ARG] if arg is None else arg,
    )


def with_records(scenario: Scenario, records: Iterable[Record]) -> Scenario:
    """Return the scenario with the same header and other records."""
    return Scenario(scenario.header, tuple(records))


def replaced(scenario: Scenario, at: int, record: Record) -> Scenario:
    """Return the scenario with another record at one position."""
    records = scenario.records
    return with_records(scenario, (*records[:at], record, *records[at + 1 :]))


def without(scenario: Scenario, positions: Collection[int]) -> Scenario:
    """Return the scenario without the records at these positions."""
    records = enumerate(scenario.records)
    return with_records(scenario, [record for at, record in records if at not in positions])


def moved_record(scenario: Scenario, take: int, put: int) -> Scenario:
    """Return the scenario with the record at position `take` moved to position `put`."""
    records = list(scenario.records)
    records.insert(put, records.pop(take))
    return with_records(scenario, records)


def calls(scenario: Scenario) -> list[int]:
    """Return the positions of all calls."""
    return [at for at, record in enumerate(scenario.records) if is_call(record)]


def as_call(record: Record, header: Header, kind: int, arg: int) -> Record:
    """Return the call as a call of another kind; if it named no pages, or stands for a whole table, it now names all
    pages.
    """
    if not names_pages(record) or record[KIND] == kinds.COLLAPSE:
        record = revised(record, page=0, count=header.pages)
    return revised(record, kind=kind, arg=arg)


def as_calls(scenario: Scenario, positions: Iterable[int], kind: int, arg: int = 0) -> Scenario:
    """Return the scenario with calls of another kind at some positions."""
    records = list(scenario.records)
    for at in positions:
        records[at] = as_call(records[at], scenario.header, kind, arg)
    return with_records(scenario, records)


def with_accesses(scenario: Scenario, kind: int) -> Scenario:
    """Return the scenario with every access turned into this kind."""
    return with_records(
        scenario,
        [revised(r, kind=kind) if r[KIND] in ACCESSES else r for r in scenario.records],
    )


def used_cpus(scenario: Scenario) -> int:
    """Return one more than the highest CPU that has a record; at least 1."""
    return max((record[CPU] for record in scenario.records), default=0) + 1


def with_cpus(scenario: Scenario, cpus: int) -> Scenario:
    """Return the same records on a machine of another size."""
    return Scenario(scenario.header._replace(cpus=cpus), scenario.records)


def rename_cpus(scenario: Scenario, names: Mapping[int, int]) -> Scenario:
    """Return the scenario with the CPUs in `names` renamed, on a machine of the same size."""
    return with_records(
        scenario, [revised(r, cpu=names.get(r[CPU], r[CPU])) for r in scenario.records]
    )


def exchange_cpus(
    scenario: Scenario, low: int, high: int, start: int, end: int | None = None
) -> Scenario:
    """Return the scenario with two CPUs exchanged in a stretch of its records, by default up to the last one."""
    records = scenario.records
    exchanged = rename_cpus(scenario, {low: high, high: low}).records[start:end]
    return with_records(
        scenario, (*records[:start], *exchanged, *records[start:][len(exchanged) :])
    )


def cpus_by_first_use(scenario: Scenario) -> Scenario:
    """Return the scenario with its CPUs named 0, 1, ... in the order of their first records."""
    order = dict.fromkeys(record[CPU] for record in scenario.records)
    return rename_cpus(scenario, {cpu: name for name, cpu in enumerate(order)})


def rename_pages(scenario: Scenario, names: Sequence[int], pages: int) -> Scenario:
    """Return the scenario with page p called `names[p]`, in address spaces of `pages` pages.

    A range becomes the smallest one that has all its renamed pages.
    """
    records = []
    for record in scenario.records:
        kind, _, _, page, count, arg = record
        if names_pages(record):
            renamed = names[page : page + count]
            low, high = min(renamed), max(renamed)
            moves = kinds.KINDS[kind].argument.of_pages
            arg = names[arg] if moves else arg
            records.append(revised(record, page=low, count=high - low + 1, arg=arg))
        else:
            records.append(record)
    return Scenario(scenario.header._replace(pages=pages), tuple(records))
