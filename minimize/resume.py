"""What lets a paused operation go on: another CPU that waits for one of its locks."""

from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import CPU, RUN, is_call, replaced, revised, without
from shootdown.scenario import Scenario, kinds


def resume_by_waiting(reducer: Reducer) -> None:
    """For each call that pauses, until one try works, let another CPU wait for one of its locks.

    The waiting CPU either loads from a page that no other record names, or makes the same call again. This replaces
    each record of another CPU between the call and the next record of the call's own CPU; that next record, which lets
    the call finish, is left out. Each later call of another CPU is also replaced by such a load.

    Both replacements change little, because the load is from no other page and the call has just been carried out; and
    both take a CPU out of lazy mode, as an access does. So a return from lazy mode and a resumption are one record.
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
    """Return the scenario with a record replaced by a load from a new page above all others."""
    pages = min(scenario.header.pages + 1, kinds.MAX_PAGES)
    load = (kinds.READ, scenario.records[at][CPU], 0, pages - 1, 1, 0)
    return replaced(Scenario(scenario.header._replace(pages=pages), scenario.records), at, load)
