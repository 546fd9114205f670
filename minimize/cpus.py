"""Fewer CPUs, and names for them that follow from the scenario alone."""

from itertools import combinations

from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import (
    ACCESSES,
    CPU,
    KIND,
    cpus_by_first_use,
    rename_cpus,
    replaced,
    revised,
    used_cpus,
    with_cpus,
    with_records,
)
from shootdown.scenario import kinds


def compact_cpus(reducer: Reducer) -> None:
    """Try CPUs named by first use, without and with those that have no record; then try each smaller machine that has
    all CPUs in use.

    An idle CPU may matter, because it receives flushes.
    """
    renamed = cpus_by_first_use(reducer.best)
    if reducer.consider(with_cpus(renamed, used_cpus(renamed))):
        return
    reducer.consider(renamed)
    for cpus in range(used_cpus(reducer.best), reducer.best.header.cpus):
        if reducer.consider(with_cpus(reducer.best, cpus)):
            return


def merge_cpus(reducer: Reducer) -> None:
    """For each two CPUs, until one try works, try to let one do the work of both.

    Each pair is tried with the records as they are, and with any one of its accesses turned into a speculative fill. An
    access cannot happen while its CPU is in the middle of an operation, but a fill can.
    """
    used = used_cpus(reducer.best)
    header = reducer.best.header
    for low, high in combinations(range(used), 2):
        names = {high: low} | {cpu: cpu - 1 for cpu in range(high + 1, used)}
        variants = [reducer.best]
        for at, record in enumerate(reducer.best.records):
            if record[KIND] in ACCESSES and record[CPU] in (low, high):
                of_fetches = record[KIND] == kinds.EXEC and header.machine & kinds.SPLIT_TLB
                fill = revised(record, kind=kinds.FILL, arg=int(of_fetches > 0))
                variants.append(replaced(reducer.best, at, fill))
        for variant in variants:
            merged = cpus_by_first_use(rename_cpus(variant, names))
            if reducer.consider(with_cpus(merged, used - 1)):
                return


def reassign_cpus(reducer: Reducer) -> None:
    """Try each record on each other CPU in use, and, from each record on, try to exchange the work of each two CPUs.

    CPUs are named by first use.
    """
    used = range(used_cpus(reducer.best))
    for at in range(len(reducer.best.records)):
        for cpu in used:
            record = revised(reducer.best.records[at], cpu=cpu)
            reducer.consider(cpus_by_first_use(replaced(reducer.best, at, record)))
        for low, high in combinations(used, 2):
            exchanged = rename_cpus(reducer.best, {low: high, high: low}).records
            records = reducer.best.records[:at] + exchanged[at:]
            reducer.consider(cpus_by_first_use(with_records(reducer.best, records)))
