from collections.abc import Callable
from typing import NamedTuple

from fuzz.minimize import cpus, deletion, header, joint, pages, schedule, values
from fuzz.minimize.reducer import Interesting, OutOfBudget, Reducer
from fuzz.scenario import Scenario


class Minimized(NamedTuple):
    scenario: Scenario
    runs: int
    complete: bool

_BULK = (
    deletion.cut_tail,
    deletion.keep_one_page,
    deletion.drop_groups,
)
_PASSES = (
    deletion.drop_records,
    schedule.merge_pauses,
    pages.compact_pages,
    cpus.compact_cpus,
    cpus.merge_cpus,
    header.lower_header,
    pages.lower_pages_jointly,
    values.lower_ranges,
    values.lower_runs,
    header.lower_layout,
    values.lower_kinds,
    values.lower_arguments,
    schedule.reorder_records,
    schedule.reassign_cpus,
    pages.merge_pages,
    pages.reorder_pages,
    joint.lower_accesses_jointly,
    joint.promote,
    joint.clear_bits,
    deletion.drop_pairs,
    joint.race,
    joint.pump,
)
stats = {}
def minimize(scenario: Scenario, interesting: Interesting, *, budget: int = 300) -> Minimized:
    reducer = Reducer(scenario, interesting, budget)
    def go(step):
        r=reducer.runs; k=reducer._key
        try: step(reducer)
        finally:
            s=stats.setdefault(step.__name__,[0,0,0]); s[0]+=reducer.runs-r; s[1]+=reducer._key!=k; s[2]+=1
    try:
        for step in _BULK:
            go(step)
        while True:
            before = reducer.best
            for step in _PASSES:
                go(step)
            if reducer.best == before:
                return Minimized(before, reducer.runs, complete=True)
    except OutOfBudget:
        return Minimized(reducer.best, reducer.runs, complete=False)
