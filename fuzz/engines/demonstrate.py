"""From an entry that is stale at rest to an access that uses it: the same mistake, but visible to the program.

C6 checks the TLBs when a run is over, so it fires in every run that leaves a stale entry. An outcome that breaks C1 to
C5 needs an access to that page, on that CPU, after the last operation has returned. Such an access is rare among drawn
records: partial-by-local left an entry within 10,000 to 50,000 executions, and in one run of five the access did not
come within 60 CPU seconds.
"""

from collections.abc import Iterator
from typing import Final

from shootdown.machine.geometry import PAGES
from shootdown.run.execute import Outcome
from shootdown.scenario import Scenario
from shootdown.scenario.kinds import EXEC, READ, RUN, SWITCH, WRITE

AT_REST: Final = "stale-entry-at-rest"


def accesses_after(scenario: Scenario, outcome: Outcome) -> Iterator[Scenario]:
    """Yield the scenario followed by a store, a load and a fetch, by the CPU and on the page of the violation.

    For an outcome with another reason it yields nothing.
    Every operation ends first, as it does at the end of the scenario itself.
    """
    violation = outcome.violation
    if violation is None or outcome.reason != AT_REST:
        return
    cpu, mm, page = violation.cpu, violation.slot // PAGES, violation.slot % PAGES
    ended = [(RUN, each, 0, 0, 1, 0) for each in range(scenario.header.cpus)]
    if outcome.world.task_mm[cpu] != mm:
        ended.append((SWITCH, cpu, 0, 0, 1, mm))
    for kind in (WRITE, READ, EXEC):
        records = (*scenario.records, *ended, (kind, cpu, 0, page, 1, 0))
        yield Scenario(scenario.header, records)
