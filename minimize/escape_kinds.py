"""Ways out of a minimum that needs other operations, other accesses or other memory than a simpler one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from shootdown.minimize.deletion import drop_calls, drop_records
from shootdown.minimize.escape import leave_by
from shootdown.minimize.fields import in_its_place
from shootdown.minimize.order import PROTECTING, PROTECTIONS_BY_SIMPLICITY, STRONG_CALLS
from shootdown.minimize.pages import compact_pages
from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    ACCESSES,
    CPU,
    KIND,
    PAGE,
    RUN,
    as_call,
    as_calls,
    calls,
    replaced,
    revised,
    with_accesses,
    with_records,
    without,
)
from shootdown.mm.operations import BY_NAME, BY_NUMBER
from shootdown.scenario import Header, Scenario, kinds

_READ_EXEC: Final = kinds.PROT_READ | kinds.PROT_EXEC
_MUNMAP, _DONTNEED = STRONG_CALLS


def escape_by_kind(reducer: Reducer) -> None:
    """Try as variants: all accesses reads, or all writes; each call replaced by one of the simplest ones; all calls of
    one kind replaced by one of these.

    A replaced call is tried with the accesses as they are, and with those that it forbids or grants. For the calls of
    one kind, the first of them alone is tried as well.
    """
    leave_by(reducer, _other_kinds(reducer.best), (drop_records, compact_pages))


def _other_kinds(best: Scenario) -> Iterator[Scenario]:
    reads, writes = (with_accesses(best, kind) for kind in (kinds.READ, kinds.WRITE))
    yield from (reads, writes)
    none, read = PROTECTIONS_BY_SIMPLICITY[:2]
    for at in calls(best):
        yield from (as_calls(best, [at], kind) for kind in STRONG_CALLS)
        yield from _beside(best, at)
        yield as_calls(reads, [at], PROTECTING, none)
        yield as_calls(writes, [at], PROTECTING, read)
        yield from (as_calls(reads, [at], kind) for kind in STRONG_CALLS)
        yield from _granting(best, at)
    # A batch that the dropped pages do not fill, so that the flush of what several calls gather comes at the end.
    filled = Scenario(best.header._replace(batch=kinds.MAX_BATCH), writes.records)
    counts = Counter(best.records[at][KIND] for at in calls(best))
    for same in sorted(kind for kind, count in counts.items() if count > 1):
        of_kind = [at for at in calls(best) if best.records[at][KIND] == same]
        for kind in STRONG_CALLS:
            alike = as_calls(reads, of_kind, kind)
            # If several calls act on all pages, one call that need not leave them alike may act on some of them.
            yield from (as_calls(filled, of_kind, kind), alike, without(alike, of_kind[1:]))


def _beside(best: Scenario, at: int) -> Iterator[Scenario]:
    """Yield the scenario in which the call drops only its first page, and later records exchange that page and its
    neighbour.

    A call on one page splits a huge page, and the page that it leaves alone is the one to go on with.
    """
    header, records = best
    call = revised(as_call(records[at], header, _DONTNEED, 0), count=1)
    low, high = sorted((call[PAGE], call[PAGE] ^ 1))
    if high < header.pages:
        names = {low: high, high: low}
        after = [
            revised(record, page=names.get(record[PAGE], record[PAGE]))
            if kinds.KINDS[record[KIND]].pages == "one"
            else record
            for record in records[at + 1 :]
        ]
        yield with_records(best, (*records[:at], call, *after))


def _granting(best: Scenario, at: int) -> Iterator[Scenario]:
    """Yield the scenario in which the call adds execution, with reads before it and fetches after it; and such a
    scenario of three records in the plainest world.

    A right that is granted but not seen has many causes, and this is its simplest story.
    """
    granting = as_calls(with_accesses(best, kinds.EXEC), [at], PROTECTING, _READ_EXEC).records
    yield with_records(best, (*with_accesses(best, kinds.READ).records[:at], *granting[at:]))
    story = (
        (kinds.READ, 0, 0, 0, 1, 0),
        (PROTECTING, 0, 0, 0, 1, _READ_EXEC),
        (kinds.EXEC, 0, 0, 0, 1, 0),
    )
    yield Scenario(Header(cpus=1, pages=1), story)


def escape_by_substitute(reducer: Reducer) -> None:
    """Try as variants: all calls of each kind, or of each kind and address space, and each of them alone, replaced by
    each operation that is declared to stand for it.

    Each is tried as it is, and with a load at the end by the last CPU: only an access may see what the other operation
    leaves behind.
    """
    leave_by(reducer, _substituted(reducer.best), (drop_records, compact_pages))


def _substituted(best: Scenario) -> Iterator[Scenario]:
    for group in _groups(best):
        for changed in _in_place_of(best, group):
            page = best.records[group[0]][PAGE]
            look = (kinds.READ, best.records[-1][CPU], 0, page, 1, 0)
            yield from (changed, with_records(changed, (*changed.records, look)))


def _groups(best: Scenario) -> list[list[int]]:
    """Return the positions of the calls of each kind, and of each address space if they name one; and each of these
    alone.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for at in calls(best):
        kind, *_, arg = best.records[at]
        space = arg if kinds.KINDS[kind].argument is kinds.SPACE else 0
        groups.setdefault((kind, space), []).append(at)
    together = [positions for _, positions in sorted(groups.items())]
    return together + [[at] for group in together if len(group) > 1 for at in group]


def _in_place_of(scenario: Scenario, positions: Iterable[int]) -> Iterator[Scenario]:
    """Yield the scenario with each operation that can stand for the records at some positions, which are of
    one kind.
    """
    (kind,) = {scenario.records[at][KIND] for at in positions}
    for name in BY_NUMBER[kind].simpler_as:
        changed = scenario
        for at in positions:
            changed = replaced(changed, at, in_its_place(scenario.records[at], BY_NAME[name]))
        yield changed


def escape_by_dropping(reducer: Reducer) -> None:
    """Try as a variant, if at least two calls pause: each of these drops the content of its pages, and all accesses are
    reads.

    Accesses that let a paused call finish only do that. Calls that meet in flight are simplest where both are the same,
    which needs accesses that suit both.
    """
    best = reducer.best
    pausing = [at for at in calls(best) if best.records[at][RUN]]
    if len(pausing) > 1:
        reads = _with_resumptions(with_accesses(best, kinds.READ))
        leave_by(reducer, [as_calls(reads, pausing, _DONTNEED)], (drop_records, compact_pages))


def _with_resumptions(scenario: Scenario) -> Scenario:
    """Return the scenario in which each access that follows a paused operation of its CPU only lets that finish; the
    last record stays.

    An access to a dropped page would map the page again, so that nothing stale is left.
    """
    records = list(scenario.records)
    paused: set[int] = set()
    for at, record in enumerate(records[:-1]):
        kind, cpu, run, *_ = record
        if cpu in paused and kind in ACCESSES and not run:
            records[at] = (kinds.RUN, cpu, 0, 0, 1, 0)
        if run:
            paused.add(cpu)
        elif kind == kinds.RUN or kind in BY_NUMBER:
            paused.discard(cpu)
    return with_records(scenario, records)


def escape_by_layout(reducer: Reducer) -> None:
    """Try as variants: other layouts, because a layout can stand for the calls that lead to it.

    - Each other layout, with the records as they are.
    - A shared layout with all accesses reads, because a load maps a page of its own there.
    - A private layout with all accesses reads, because a load there maps no page that would have to be freed.
    - For an operation that needs the present layout: a private layout with all accesses writes and a simple call in its
      place; and the layout of an operation that is declared to stand for it.
    - In the layout of the file: any call turned into a store by another CPU, and all later accesses into stores. The
      store makes an entry writable, as a granted right does elsewhere.

    The variants are reduced by removing calls only.
    """
    leave_by(reducer, _other_layouts(reducer.best), (drop_calls, compact_pages))


def _other_layouts(best: Scenario) -> Iterator[Scenario]:
    header, records = best
    needed = {word for r in records if r[KIND] in BY_NUMBER for word in BY_NUMBER[r[KIND]].layouts}
    there = kinds.LAYOUTS[header.layout]
    others = [
        Scenario(header._replace(layout=layout), records)
        for layout in range(len(kinds.LAYOUTS))
        # In a driver's pages, operations that do not need such pages find no more than in shared memory.
        if layout != kinds.PFNMAP or kinds.LAYOUTS[layout] in needed
    ]
    yield from others
    for layout in (kinds.SHARED, kinds.PRIVATE):
        yield with_accesses(others[layout], kinds.READ)
    for at in calls(best):
        operation = BY_NUMBER[records[at][KIND]]
        if there in operation.layouts and header.layout != kinds.PRIVATE:
            private = with_accesses(others[kinds.PRIVATE], kinds.WRITE)
            yield from (as_calls(private, [at], kind) for kind in STRONG_CALLS)
            single = with_records(best, [revised(record, count=1) for record in records])
            for changed in _in_place_of(single, [at]):
                for word in BY_NUMBER[changed.records[at][KIND]].layouts:
                    layout = kinds.LAYOUTS.index(word)
                    yield Scenario(header._replace(layout=layout), changed.records)
    if header.cpus < kinds.MAX_CPUS:
        file = header._replace(layout=kinds.FILE, cpus=header.cpus + 1)
        for at in calls(best):
            store = (kinds.WRITE, header.cpus, 0, records[at][PAGE], 1, 0)
            after = with_accesses(Scenario(file, records[at + 1 :]), kinds.WRITE).records
            yield Scenario(file, (*records[:at], store, *after))
