"""What lets a paused operation go on: another CPU that waits for a lock of it."""

from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import CPU, RUN, is_call, replaced, revised, without
from shootdown.scenario import Scenario, kinds


def resume_by_waiting(reducer: Reducer) -> None:
    """For each call that pauses, until that worked once, another CPU has tried to wait for a lock of it, by a load from
    a page that nobody else names and by the same call again: in the place of each record of another CPU between the
    call and the next one of its CPU, which lets it finish, without that next one. Each call of another CPU behind it
    has tried to be such a load.

    Both change little, because the load is of no other page and the call has just been carried out; and both take a
    CPU out of lazy mode as an access does. So a return from lazy mode and a resumption are one record.
    """
    best = reducer.best
    for at, record in enumerate(best.records):
        if not record[RUN] or not is_call(record):
            continue
        later = range(at + 1, len(best.records))
        others = [i for i in later if best.records[i][CPU] != record[CPU]]
        resumption = next((i for i in later if i not in others), 0)
        for between in others:
            again = revised(record, cpu=best.records[between][CPU], run=0)
            if between < resumption:
                candidate = without(replaced(best, between, again), {resumption})
                if any(map(reducer.consider, (_with_new_page(candidate, between), candidate))):
                    return
            if is_call(best.records[between]) and reducer.consider(_with_new_page(best, between)):
                return


def _with_new_page(scenario: Scenario, at: int) -> Scenario:
    """The scenario with a load from a page of its own, behind all others, in the place of a record."""
    pages = min(scenario.header.pages + 1, kinds.MAX_PAGES)
    load = (kinds.READ, scenario.records[at][CPU], 0, pages - 1, 1, 0)
    return replaced(Scenario(scenario.header._replace(pages=pages), scenario.records), at, load)
