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
    """Variants: all accesses reads, or all writes; each call one of the simplest, with the accesses as they are and
    those that it forbids or grants; all calls of one kind one of these, and the first of them alone.
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
    # What dropped pages do not fill, so that what several calls gather is flushed at the end.
    filled = Scenario(best.header._replace(batch=kinds.MAX_BATCH), writes.records)
    counts = Counter(best.records[at][KIND] for at in calls(best))
    for same in sorted(kind for kind, count in counts.items() if count > 1):
        of_kind = [at for at in calls(best) if best.records[at][KIND] == same]
        for kind in STRONG_CALLS:
            alike = as_calls(reads, of_kind, kind)
            # What several calls do to all pages, one that has not to leave them alike may do to some.
            yield from (as_calls(filled, of_kind, kind), alike, without(alike, of_kind[1:]))


def _beside(best: Scenario, at: int) -> Iterator[Scenario]:
    """The call drops its first page alone, and what comes after it on that page and on the page beside it has changed
    its page: a call on one page splits a huge one, and the page that it leaves alone is the one to go on with.
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
    """The call adds execution, all accesses before it are reads, and all after it fetches; and these three records in
    the plainest world. A right that is granted and not seen has many causes, and this is its simplest story.
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
    """Variants: all calls of each kind, or of each kind and address space, and each of them alone, made each operation
    that is declared to stand for it, as they are and with a load at the end, by the last CPU.

    What another operation leaves behind may be seen by an access only.
    """
    leave_by(reducer, _substituted(reducer.best), (drop_records, compact_pages))


def _substituted(best: Scenario) -> Iterator[Scenario]:
    for group in _groups(best):
        for changed in _in_place_of(best, group):
            page = best.records[group[0]][PAGE]
            look = (kinds.READ, best.records[-1][CPU], 0, page, 1, 0)
            yield from (changed, with_records(changed, (*changed.records, look)))


def _groups(best: Scenario) -> list[list[int]]:
    """The positions of the calls of each kind, and of each address space if they name one; and each of these alone."""
    groups: dict[tuple[int, int], list[int]] = {}
    for at in calls(best):
        kind, *_, arg = best.records[at]
        space = arg if kinds.KINDS[kind].argument is kinds.SPACE else 0
        groups.setdefault((kind, space), []).append(at)
    together = [positions for _, positions in sorted(groups.items())]
    return together + [[at] for group in together if len(group) > 1 for at in group]


def _in_place_of(scenario: Scenario, positions: Iterable[int]) -> Iterator[Scenario]:
    """The scenario with each operation that stands for those at some positions, which are of one kind."""
    (kind,) = {scenario.records[at][KIND] for at in positions}
    for name in BY_NUMBER[kind].simpler_as:
        changed = scenario
        for at in positions:
            changed = replaced(changed, at, in_its_place(scenario.records[at], BY_NAME[name]))
        yield changed


def escape_by_dropping(reducer: Reducer) -> None:
    """Variant, if two calls pause at least: each of these drops the content of its pages, and all accesses are reads,
    of which those that let a paused call finish do no more than that.

    Calls that meet in flight are simplest where both are the same, which takes accesses that suit both.
    """
    best = reducer.best
    pausing = [at for at in calls(best) if best.records[at][RUN]]
    if len(pausing) > 1:
        reads = _with_resumptions(with_accesses(best, kinds.READ))
        leave_by(reducer, [as_calls(reads, pausing, _DONTNEED)], (drop_records, compact_pages))


def _with_resumptions(scenario: Scenario) -> Scenario:
    """The scenario with each access that comes next after a paused operation of its CPU made a record that only lets
    that finish, but not the last record.

    An access to a page that was dropped would map it again, so that nothing stale is left.
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
    """Variants: each other layout, because a layout can stand for the calls that lead to it; a shared one with all
    accesses reads, because a load maps a page of its own there, and a private one, because it maps none that would have
    to be freed; for operations that need the layout there is, a private one with all accesses writes and a simple call
    in the place of each call, and the layout of what is declared to stand for such an operation; and in the layout of
    the file any call made the store of another CPU, which makes an entry writable there as a right that is granted does
    elsewhere, and all accesses after it stores.

    They are reduced by removing calls only.
    """
    leave_by(reducer, _other_layouts(reducer.best), (drop_calls, compact_pages))


def _other_layouts(best: Scenario) -> Iterator[Scenario]:
    header, records = best
    needed = {word for r in records if r[KIND] in BY_NUMBER for word in BY_NUMBER[r[KIND]].layouts}
    there = kinds.LAYOUTS[header.layout]
    others = [
        Scenario(header._replace(layout=layout), records)
        for layout in range(len(kinds.LAYOUTS))
        # In a driver's pages all operations but those that need them find no more than in shared memory.
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
