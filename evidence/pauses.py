"""Pauses that a scenario asks for and a run never makes: without a note about them, a race may not be the
intended one.
"""

from dataclasses import dataclass
from typing import Literal

from shootdown.mm.step import POINTS
from shootdown.mm.world import World
from shootdown.run.window import holds_table_lock, stale_elsewhere
from shootdown.scenario import Record, kinds


@dataclass(frozen=True, slots=True)
class MissedPause:
    """The record at a position of the scenario should have run until a point, and did not stop there.

    `why`: the operation "ended" before it, or was "blocked" before it, or the CPU had none in flight ("idle").
    """

    record: int
    point: str
    why: Literal["ended", "blocked", "idle"]


def missed_pause(w: World, position: int, record: Record, *, moved: bool) -> MissedPause | None:
    """Return the pause that the record has just missed, or None for any other record.

    `moved`: its CPU has executed a step since the record before it.
    """
    kind, cpu, run, *_ = record
    if run < kinds.FIRST_POINT:
        return None
    point = kinds.POINTS[run - kinds.FIRST_POINT]
    pending = w.steps[cpu]
    if not pending:
        idle = kind == kinds.RUN and not moved
        return MissedPause(position, point, "idle" if idle else "ended")
    if run == kinds.WINDOW:
        reached = not holds_table_lock(w, cpu) and bool(stale_elsewhere(w, cpu))
    else:
        reached = POINTS[pending[-1][0]] == point
    return None if reached else MissedPause(position, point, "blocked")
