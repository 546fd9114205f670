"""The way from a path of the search to a scenario that shows the same."""

from itertools import groupby

from shootdown.machine.geometry import PAGES
from shootdown.minimize.rewrite import without
from shootdown.mm.world import FlushStrategy
from shootdown.prove.moves import EVICT, FILL, START, STEP, carry_out, moves_in
from shootdown.prove.scope import Scope
from shootdown.run.execute import boot, execute
from shootdown.run.oracle import Violation
from shootdown.scenario import kinds
from shootdown.scenario.record import Record, Scenario


def scenario_of(path: bytes, scope: Scope, strategy: FlushStrategy) -> Scenario:
    """Return the scenario that makes the moves of a path; what is in flight at its end is finished."""
    w, _ = boot(scope.header, strategy)
    records: list[Record] = []
    for (cpu, hardware), group in groupby(
        moves_in(path), key=lambda move: (move & 7, FILL <= move >> 3 < START)
    ):
        moves = list(group)
        if hardware:
            for move in moves:
                action = move >> 3
                kind, first = (kinds.FILL, FILL) if action < EVICT else (kinds.EVICT, EVICT)
                arg, page = divmod(action - first, PAGES)
                records.append((kind, cpu, 0, page, 1, arg))
                carry_out(w, scope, move)
            continue
        left: list[tuple[Record, int]] = []
        for move in moves:
            action = move >> 3
            if action != STEP:
                kind, _, _, page, count, arg = scope.alphabet[action - START]
                left.append(((kind, cpu, 0, page, count, arg), 1))
            elif left and left[-1][1] < kinds.MAX_STEPS:
                left[-1] = (left[-1][0], left[-1][1] + 1)
            else:
                left.append(((kinds.RUN, cpu, 0, 0, 1, 0), 1))
        try:
            for move in moves:
                carry_out(w, scope, move)
        except Violation:
            pass
        for i, ((kind, _, _, page, count, arg), steps) in enumerate(left):
            ends = i + 1 == len(left) or left[i + 1][0][0] != kinds.RUN
            run = 0 if ends and (i + 1 < len(left) or not w.steps[cpu]) else steps
            records.append((kind, cpu, run, page, count, arg))
    return Scenario(scope.header, tuple(records))


def without_idle_hardware(scenario: Scenario, strategy: FlushStrategy) -> Scenario:
    """Return the scenario without each fill and eviction that its violation does not need; the last one goes first.

    The search takes the first path that it finds, not the path with the fewest choices of the hardware.
    """
    reason = execute(scenario, strategy).reason
    for at in reversed(range(len(scenario.records))):
        if scenario.records[at][0] in (kinds.FILL, kinds.EVICT):
            fewer = without(scenario, {at})
            if execute(fewer, strategy).reason == reason:
                scenario = fewer
    return scenario


def operations_in(scenario: Scenario) -> int:
    """Return how many operations a scenario starts: its length without the choices of schedule and hardware."""
    return sum(record[0] in kinds.OPERATIONS for record in scenario.records)
