"""Ways out of a minimum that no single step leaves: sideways or up, and down on the other side.

A variant of the best scenario need not be simpler, and often is not. If it is interesting, it is
reduced by itself; only if that ends simpler than the best scenario does it replace it. Each pass
here guarantees that this has been done with each of the variants that it names, until one worked.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from typing import Final

from shootdown.minimize.cpus import reassign_cpus
from shootdown.minimize.deletion import drop_calls, drop_records
from shootdown.minimize.pages import compact_pages, reorder_pages
from shootdown.minimize.reducer import Pass, Reducer
from shootdown.minimize.rewrite import (
    ACCESSES,
    ARG,
    COUNT,
    CPU,
    KIND,
    PAGE,
    RUN,
    as_call,
    calls,
    cpus_by_first_use,
    moved_record,
    rename_cpus,
    replaced,
    revised,
    used_cpus,
    with_accesses,
    with_records,
    without,
)
from shootdown.scenario import Scenario, kinds

# Calls after which nothing of a page is left: they forbid most, and free what can be freed.
_STRONG_CALLS: Final = (kinds.MUNMAP, kinds.DONTNEED)
COMMIT: Final = kinds.FIRST_POINT + kinds.POINTS.index("commit")
_HINTS: Final = {kinds.MPROTECT: (kinds.NUMA_SCAN, 1), kinds.MIGRATE: (kinds.READ, 0)}
_RETURN: Final = kinds.FIRST_POINT + kinds.POINTS.index("return")


def escape_by_kind(reducer: Reducer) -> None:
    """Variants: all accesses reads, or all writes; each call one that drops its pages, and so all
    calls of one kind, with all accesses reads, or the first of them alone, or with all accesses
    writes and a large batch, which dropped pages do not fill; each swapout a migration, which unmaps
    by the rmap as well; each copy the store that it ends with.
    """
    best = reducer.best
    variants = [with_accesses(best, access) for access in (kinds.READ, kinds.WRITE)]
    variants += [
        replaced(best, at, as_call(best.records[at], best.header, kind, 0))
        for at in calls(best)
        for kind in _STRONG_CALLS
    ]
    for at in calls(best):
        kind, cpu, run, _, _, arg = record = best.records[at]
        if kind == kinds.SWAPOUT:
            variants.append(replaced(best, at, as_call(record, best.header, kinds.MIGRATE, arg)))
        elif kind == kinds.COPY:
            variants.append(replaced(best, at, (kinds.WRITE, cpu, run, arg, 1, 0)))
    reads = variants[0]
    filled = Scenario(best.header._replace(batch=kinds.MAX_BATCH), best.records)
    writes = with_accesses(filled, kinds.WRITE)
    counts = Counter(best.records[at][KIND] for at in calls(best))
    for same in sorted(kind for kind, count in counts.items() if count > 1):
        for kind in _STRONG_CALLS:
            for accesses in (writes, reads):
                records = [
                    as_call(r, best.header, kind, 0) if r[KIND] == same else r
                    for r in accesses.records
                ]
                variants.append(with_records(accesses, records))
            # What several calls do to all pages, one that has not to leave them alike may do to some.
            of_kind = {at for at, r in enumerate(best.records) if r[KIND] == same}
            variants.append(without(variants[-1], of_kind - {min(of_kind)}))
    leave_by(reducer, variants, (drop_records, compact_pages))


def escape_by_dropping(reducer: Reducer) -> None:
    """Variant, if two calls pause at least: each of these drops the content of its pages, and all accesses are reads,
    of which those that let a paused call finish do no more than that.

    Calls that meet in flight are simplest where both are the same, which takes accesses that suit both.
    """
    best = reducer.best
    pausing = [at for at in calls(best) if best.records[at][RUN]]
    if len(pausing) < 2:
        return
    records = list(_with_resumptions(with_accesses(best, kinds.READ)).records)
    for at in pausing:
        records[at] = as_call(records[at], best.header, kinds.DONTNEED, 0)
    leave_by(reducer, [with_records(best, records)], (drop_records, compact_pages))


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
        elif kind <= kinds.RUN:
            paused.discard(cpu)
    return with_records(scenario, records)


def escape_by_layout(reducer: Reducer) -> None:
    """Variants: each other layout, because a layout can stand for the calls that lead to it; a shared one with all
    accesses reads, because a load maps a page of its own there, and a private one, because it maps none that would have
    to be freed; and in the layout of the file any call made the store of another CPU, which makes an entry writable
    there as mprotect does elsewhere, and all accesses behind it stores.
    They are reduced by removing calls only.
    The layout of a driver's pages is for scenarios with a revocation: all others find in it no more than in shared
    memory.
    """
    header, records = reducer.best
    revoked = any(record[KIND] == kinds.REVOKE for record in records)
    variants = [
        Scenario(header._replace(layout=layout), records)
        for layout in range(len(kinds.LAYOUTS))
        if layout != kinds.PFNMAP or revoked
    ]
    if revoked:
        # A hole in the file takes its page as a revocation takes a driver's.
        punched = [
            revised(record, kind=kinds.PUNCH, count=1) if record[KIND] == kinds.REVOKE else record
            for record in records
        ]
        variants.append(Scenario(header._replace(layout=kinds.FILE), tuple(punched)))
    variants += [
        with_accesses(variants[layout], kinds.READ) for layout in (kinds.SHARED, kinds.PRIVATE)
    ]
    if header.cpus < kinds.MAX_CPUS:
        file = header._replace(layout=kinds.FILE, cpus=header.cpus + 1)
        for at in calls(reducer.best):
            store = (kinds.WRITE, header.cpus, 0, records[at][PAGE], 1, 0)
            behind = with_accesses(Scenario(file, records[at + 1 :]), kinds.WRITE).records
            variants.append(Scenario(file, (*records[:at], store, *behind)))
    leave_by(reducer, variants, (drop_calls, compact_pages))


def escape_by_split(reducer: Reducer) -> None:
    """Variants, in the layout of huge pages: each call drops its first page, and what comes behind it on that page goes
    to the page beside it.

    A call on one page splits the huge page, whichever page that is; the page that it leaves alone is the one to go on
    with. Where the call has the second of two pages, they are also exchanged from there on.
    """
    best = reducer.best
    if best.header.layout != kinds.HUGE:
        return
    variants = []
    for at in calls(best):
        page = best.records[at][PAGE]
        if page ^ 1 >= best.header.pages:
            continue
        beside = [
            revised(record, page=page ^ 1)
            if kinds.KINDS[record[KIND]].pages == "one" and record[PAGE] == page
            else record
            for record in best.records[at + 1 :]
        ]
        call = revised(
            as_call(best.records[at], best.header, kinds.DONTNEED, 0), page=page, count=1
        )
        variants.append(with_records(best, (*best.records[:at], call, *beside)))
        if page & 1:
            exchanged = [
                revised(record, page=record[PAGE] ^ 1)
                if kinds.KINDS[record[KIND]].pages != "none"
                and (record[PAGE] | 1, record[COUNT]) == (page, 1)
                else record
                for record in best.records[at:]
            ]
            variants.append(with_records(best, (*best.records[:at], *exchanged)))
    leave_by(reducer, variants, (drop_records,))


def escape_by_laziness(reducer: Reducer) -> None:
    """Variants: every switch to another space is lazy mode, or a poke, every switch back a load, and no space is made;
    and every exit a switch back.

    A CPU that is away misses flushes in either way, and lazy mode needs no second space; nor does the temporary one of
    the kernel, which recycles an ASID as a switch does.
    """
    best = reducer.best
    if any(record[KIND] == kinds.EXIT for record in best.records):
        back = [
            as_call(record, best.header, kinds.SWITCH, 0) if record[KIND] == kinds.EXIT else record
            for record in best.records
        ]
        reducer.consider(with_records(best, back))
    if not any(record[KIND] == kinds.SWITCH for record in best.records):
        return
    page = next((record[PAGE] for record in best.records if record[KIND] in ACCESSES), 0)
    variants = []
    for away, at in ((kinds.LAZY, 0), (kinds.POKE, page)):
        records = []
        for record in best.records:
            if record[KIND] == kinds.SWITCH and record[ARG]:
                records.append((away, record[CPU], record[RUN], at, 1, 0))
            elif record[KIND] == kinds.SWITCH:
                records.append((kinds.READ, record[CPU], record[RUN], 0, 1, 0))
            elif record[KIND] != kinds.FORK:
                records.append(record)
        variants.append(with_records(best, records))
    leave_by(reducer, variants, (drop_records, compact_pages))


def escape_by_scan(reducer: Reducer) -> None:
    """Variant: every write-protection of userfaultfd is a NUMA scan, and the last CPU loads its first page at the end.

    A scan makes entries change as well, and needs no registration; but what comes back behind it is seen by its fault.
    """
    best = reducer.best
    protected = [record for record in best.records if record[KIND] == kinds.UFFD_WP]
    if not protected:
        return
    records = [
        revised(record, kind=kinds.NUMA_SCAN, arg=0) if record[KIND] == kinds.UFFD_WP else record
        for record in best.records
    ]
    look = (kinds.READ, best.records[-1][CPU], 0, protected[0][PAGE], 1, 0)
    leave_by(reducer, [with_records(best, [*records, look])], (drop_records, compact_pages))


def escape_by_hint(reducer: Reducer) -> None:
    """Variants: every mprotect is a NUMA scan that finds misplaced pages, paused as it is or with one pause in front of
    the commit, and every migration a load, which migrates behind such a scan.
    """
    best = reducer.best
    if not {kinds.MPROTECT, kinds.MIGRATE} <= {record[KIND] for record in best.records}:
        return
    records = [
        revised(record, kind=hint[0], arg=hint[1]) if (hint := _HINTS.get(record[KIND])) else record
        for record in best.records
    ]
    hinted = with_records(best, records)
    paused = [
        replaced(hinted, at, revised(record, run=COMMIT))
        for at, record in enumerate(records)
        if record[KIND] == kinds.NUMA_SCAN and record[RUN]
    ]
    leave_by(reducer, [hinted, *paused], (drop_records, compact_pages))


def escape_by_window(reducer: Reducer) -> None:
    """Variants: each pause one "until return"; and each one "until window", with the records as they are, and from the
    one that pauses on with its CPU exchanged with each other.

    Another pause ends at a step of its operation, and moves when a record before it goes: an operation that finds
    something to unmap has an unlock more. A window is where it is, but only other CPUs open one; and all return.
    """
    leave_by(reducer, with_windows(reducer.best), (drop_records, compact_pages))


def with_windows(scenario: Scenario) -> list[Scenario]:
    """Return the variants of escape_by_window."""
    variants: list[Scenario] = []
    for at, record in enumerate(scenario.records):
        if not record[RUN] or record[RUN] == kinds.WINDOW:
            continue
        variants += [
            replaced(scenario, at, revised(record, run=run)) for run in (_RETURN, kinds.WINDOW)
        ]
        for other in range(used_cpus(scenario)):
            if other != record[CPU]:
                exchanged = rename_cpus(variants[-1], {record[CPU]: other, other: record[CPU]})
                records = scenario.records[:at] + exchanged.records[at:]
                variants.append(with_records(scenario, records))
    return variants


def escape_by_place(reducer: Reducer) -> None:
    """Variants: each access moved to the front."""
    best = reducer.best
    variants = [
        cpus_by_first_use(moved_record(best, at, 0))
        for at, record in enumerate(best.records)
        if record[KIND] in ACCESSES
    ]
    leave_by(reducer, variants, (drop_records, reorder_pages, reassign_cpus))


def escape_by_cpu(reducer: Reducer) -> None:
    """Variants: each access on each other CPU; each two CPUs exchanged in each stretch of records
    that starts with a pause.
    """
    best = reducer.best
    variants = [
        cpus_by_first_use(replaced(best, at, revised(record, cpu=cpu)))
        for at, record in enumerate(best.records)
        if record[KIND] in ACCESSES
        for cpu in range(used_cpus(best))
    ]
    for low, high in combinations(range(used_cpus(best)), 2):
        exchanged = rename_cpus(best, {low: high, high: low}).records
        for start, record in enumerate(best.records):
            for end in range(start + 1, len(best.records)) if record[RUN] else ():
                records = best.records[:start] + exchanged[start:end] + best.records[end:]
                variants.append(with_records(best, records))
    leave_by(reducer, variants, (drop_records,))


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
