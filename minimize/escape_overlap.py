"""Ways out of a minimum whose operations are in flight together in another order, or by other CPUs, than in a simpler
one.
"""

from itertools import combinations
from typing import Final

from shootdown.minimize.cpus import merge_cpus, reassign_cpus
from shootdown.minimize.deletion import drop_records
from shootdown.minimize.escape import COMMIT, leave_by
from shootdown.minimize.pages import compact_pages
from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    CPU,
    RUN,
    cpus_by_first_use,
    is_call,
    rename_cpus,
    replaced,
    revised,
    used_cpus,
    with_records,
    without,
)
from shootdown.scenario import Scenario, kinds

_FLUSH: Final = kinds.FIRST_POINT + kinds.POINTS.index("flush")
_OVERLAPPING: Final = 3


def escape_by_flushes(reducer: Reducer) -> None:
    """Variants, where two operations pause: they come to their flushes, and have exchanged their CPUs, or their order;
    and where one pauses: it comes to its flush, and from there on two CPUs have exchanged their work.

    Who holds a lock at its pause is let go on by who waits for it, so the pause says little about where the two meet;
    and who does the work may decide which pause is the simplest (merge-pending-unseen: a write-protection by a CPU that
    has loaded the page is met at its flush only, one by another CPU before).
    """
    best = reducer.best
    paused = [at for at, record in enumerate(best.records) if record[RUN]]
    variants = []
    for first, second in combinations(paused, 2):
        records = list(best.records)
        one, other = records[first], records[second]
        records[first] = revised(one, cpu=other[CPU], run=_FLUSH)
        records[second] = revised(other, cpu=one[CPU], run=_FLUSH)
        variants.append(cpus_by_first_use(with_records(best, records)))
        records[first] = revised(other, cpu=one[CPU], run=_FLUSH)
        records[second] = revised(one, cpu=other[CPU], run=_FLUSH)
        variants.append(with_records(best, records))
    for at in paused:
        later = replaced(best, at, revised(best.records[at], run=_FLUSH))
        for low, high in combinations(range(used_cpus(best)), 2):
            exchanged = rename_cpus(later, {low: high, high: low}).records
            variants.append(
                cpus_by_first_use(with_records(best, [*later.records[:at], *exchanged[at:]]))
            )
    leave_by(reducer, variants, (drop_records, compact_pages))


def escape_by_late_pause(reducer: Reducer) -> None:
    """Variants, where three calls pause: each of them in front of the last record, by a CPU that does nothing else.

    What only holds something through all of it can begin at any time, and on any CPU that is free by then.
    """
    header, records = reducer.best
    paused = [at for at, record in enumerate(records) if record[RUN] and is_call(record)]
    if len(paused) < _OVERLAPPING or header.cpus == kinds.MAX_CPUS:
        return
    more = header._replace(cpus=header.cpus + 1)
    variants = []
    for at in paused:
        rest = (*records[:at], *records[at + 1 :])
        late = (*rest[:-1], revised(records[at], cpu=header.cpus), rest[-1])
        variants.append(cpus_by_first_use(Scenario(more, late)))
    leave_by(reducer, variants, (merge_cpus, reassign_cpus))


def escape_by_late_load(reducer: Reducer) -> None:
    """Variants, where a copy pauses: instead of it its CPU loads the page at the end, and what else pauses does so in
    front of its commit, where a load meets it.

    A copy that goes on behind the last record faults there as the load does.
    """
    best = reducer.best
    variants = []
    for at, (kind, cpu, run, _, _, arg) in enumerate(best.records):
        if kind != kinds.COPY or not run:
            continue
        rest = without(best, {at}).records
        early = [revised(record, run=COMMIT) if record[RUN] else record for record in rest]
        variants.append(with_records(best, [*early, (kinds.READ, cpu, 0, arg, 1, 0)]))
    leave_by(reducer, variants, (drop_records, compact_pages))
