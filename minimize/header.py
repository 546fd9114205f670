"""A plainer world: fewer machine switches, identifiers and batch pages, a simpler layout."""

from collections.abc import Iterator
from typing import Final

from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    KIND,
    RUN,
    replaced,
    revised,
    with_accesses,
    with_records,
    without,
)
from shootdown.scenario import Header, Scenario, kinds


def _consider_header(reducer: Reducer, header: Header) -> bool:
    return reducer.consider(Scenario(header, reducer.best.records))


def lower_header(reducer: Reducer) -> None:
    """Try no machine switch, one identifier and one page in a batch, together; then try each switch cleared, and each
    smaller number of identifiers and of pages in a batch.
    """
    _consider_header(reducer, reducer.best.header._replace(machine=0, asids=1, batch=1))
    for switch in range(len(kinds.SWITCHES)):
        header = reducer.best.header
        _consider_header(reducer, header._replace(machine=header.machine & ~(1 << switch)))
    for asids in range(1, reducer.best.header.asids):
        if _consider_header(reducer, reducer.best.header._replace(asids=asids)):
            break
    for batch in range(1, reducer.best.header.batch):
        if _consider_header(reducer, reducer.best.header._replace(batch=batch)):
            break


_LAYOUT_OF: Final = {
    kinds.MAP_PRIVATE: kinds.PRIVATE,
    kinds.MAP_SHARED: kinds.SHARED,
    kinds.MAP_HUGE: kinds.HUGE,
    kinds.MAP_FILE: kinds.FILE,
}


def map_at_the_start(reducer: Reducer) -> None:
    """Try to remove each mmap in exchange for a layout that maps its type of memory everywhere from the start.

    This is tried with the pauses as they are; with all pauses in windows; and then also with the pausing records on one
    additional CPU. Where more is mapped, an operation has more to do, and a pause may fall into another part of it; a
    window stays where it is, if another CPU has something cached.
    """
    for at in reversed(range(len(reducer.best.records))):
        kind, *_, arg = reducer.best.records[at]
        if kind == kinds.MMAP:
            layout = _LAYOUT_OF[arg >> kinds.MAP_SHIFT]
            header = reducer.best.header._replace(layout=layout)
            mapped = without(Scenario(header, reducer.best.records), {at})
            if reducer.consider(mapped):
                continue
            windows = [revised(r, run=kinds.WINDOW) if r[RUN] else r for r in mapped.records]
            if not reducer.consider(with_records(mapped, windows)) and header.cpus < kinds.MAX_CPUS:
                apart = [revised(r, cpu=header.cpus) if r[RUN] else r for r in windows]
                reducer.consider(Scenario(header._replace(cpus=header.cpus + 1), tuple(apart)))


def lower_layout(reducer: Reducer) -> None:
    """Try each simpler layout, until one works.

    Each is tried with the records as they are; with all accesses writes; with all accesses writes and all ranges single
    pages; with any one read turned into a write; and with any one mmap turned into the mprotect of its pages, or into
    the munmap of a page. In a shared mapping a read maps a page of its own, and in a huge mapping four at once; in a
    private mapping only a write makes such an entry.
    """
    for layout in range(reducer.best.header.layout):
        lower = Scenario(reducer.best.header._replace(layout=layout), reducer.best.records)
        writes = with_accesses(lower, kinds.WRITE)
        single = with_records(lower, [revised(record, count=1) for record in writes.records])
        variants = (lower, writes, single, *_one_write(lower), *_instead_of_mmap(lower))
        if any(map(reducer.consider, variants)):
            return


def _one_write(scenario: Scenario) -> Iterator[Scenario]:
    """Yield the scenario with each one read turned into a write."""
    for at, record in enumerate(scenario.records):
        if record[KIND] == kinds.READ:
            yield replaced(scenario, at, revised(record, kind=kinds.WRITE))


def _instead_of_mmap(scenario: Scenario) -> Iterator[Scenario]:
    """Yield the scenario with each mmap turned into an mprotect, or into a munmap of any one page.

    The mprotect is for memory that is mapped already; with the munmap, mapped and unmapped pages exchange their roles.
    """
    for at, record in enumerate(scenario.records):
        if record[KIND] == kinds.MMAP:
            rights = record[-1] & (1 << kinds.MAP_SHIFT) - 1
            yield replaced(scenario, at, revised(record, kind=kinds.MPROTECT, arg=rights))
            for page in range(scenario.header.pages):
                hole = revised(record, kind=kinds.MUNMAP, page=page, count=1, arg=0)
                yield replaced(scenario, at, hole)
