"""What lets a paused operation go on: whatever its CPU does next, or another CPU that waits for a lock of it."""

from fuzz.minimize.reducer import Reducer
from fuzz.minimize.rewrite import CPU, PAGE, RUN, is_call, replaced, revised, without
from fuzz.scenario import Scenario, kinds


def resume_by_access(reducer: Reducer) -> None:
    """For each operation that pauses, each later record has tried to be a load by its CPU, which lets it finish.

    Whatever waits for a lock of that operation does the same, in as many ways as there are operations that wait.
    """
    best = reducer.best
    for at, record in enumerate(best.records):
        if not record[RUN]:
            continue
        load = (kinds.READ, record[CPU], 0, record[PAGE], 1, 0)
        for later in range(at + 1, len(best.records)):
            if reducer.consider(replaced(best, later, load)):
                return


def resume_by_waiting(reducer: Reducer) -> None:
    """For each call that pauses and the next record of its CPU, which lets it finish, tried: without that record, and
    with each record of another CPU between the two one that has to wait for the locks of the call: a load from a page
    that nobody else names, and the same call again. Until that worked once.

    Both change little, because the load is of no other page and the call has just been carried out; and both take a
    CPU out of lazy mode as the record did. So a return from lazy mode and a resumption are one record.
    """
    best = reducer.best
    for at, record in enumerate(best.records):
        later = next(
            (i for i in range(at + 1, len(best.records)) if best.records[i][CPU] == record[CPU]), at
        )
        if not record[RUN] or not is_call(record):
            continue
        for between in range(at + 1, later):
            cpu = best.records[between][CPU]
            again = without(replaced(best, between, revised(record, cpu=cpu, run=0)), {later})
            if reducer.consider(_with_new_page(again, between)) or reducer.consider(again):
                return


def _with_new_page(scenario: Scenario, at: int) -> Scenario:
    """The scenario with a load from a page of its own, behind all others, in the place of a record."""
    pages = min(scenario.header.pages + 1, kinds.MAX_PAGES)
    load = (kinds.READ, scenario.records[at][CPU], 0, pages - 1, 1, 0)
    return replaced(Scenario(scenario.header._replace(pages=pages), scenario.records), at, load)
