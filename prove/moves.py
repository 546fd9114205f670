"""The moves of a search: one step of a CPU, a choice of the hardware, or the start of an operation.

A move is an integer below 65,536, and a path is the bytes of its moves, two each. So a frontier of millions is kept as
paths, and running a path makes its world again.
"""

from collections.abc import Sequence
from typing import Final

from shootdown.machine.caches import BOTH, OF_FETCHES, UPPER
from shootdown.machine.geometry import PAGES
from shootdown.mm.operation import IDLE_OP
from shootdown.mm.operations import begin
from shootdown.mm.step import run_steps
from shootdown.mm.world import FlushStrategy, World
from shootdown.prove.scope import Scope
from shootdown.run.execute import OPERATION_OF, boot
from shootdown.run.oracle import Oracle
from shootdown.scenario import kinds

STEP: Final = 0
FILL: Final = 1
FILL_FETCH: Final = FILL + PAGES
EVICT: Final = FILL + PAGES * len(kinds.FILLED.names)
EVICT_UPPER: Final = EVICT + PAGES * UPPER
EVICT_BOTH: Final = EVICT + PAGES * BOTH
EVICT_FETCH: Final = EVICT + PAGES * OF_FETCHES
START: Final = EVICT + PAGES * len(kinds.EVICTED.names)
"""Actions: a step, a fill of page i (FILL + i, FILL_FETCH + i), an eviction (the number in machine.caches of what is
evicted, times PAGES), and the start of operation i of the scope.
"""
FILLS: Final = tuple(range(FILL, EVICT, PAGES))
EVICTIONS: Final = tuple(range(EVICT, START, PAGES))
"""The action on page 0 of each fill and of each eviction that a scenario can ask for."""


def move_of(action: int, cpu: int) -> int:
    """Return the move for an action of a CPU."""
    return action << 3 | cpu


def path_of(moves: Sequence[int]) -> bytes:
    """Return the path that consists of the moves."""
    return b"".join([move.to_bytes(2, "little") for move in moves])


def moves_in(path: bytes) -> list[int]:
    """Return the moves of a path."""
    return [path[i] | path[i + 1] << 8 for i in range(0, len(path), 2)]


def carry_out(w: World, scope: Scope, move: int) -> bool:
    """Carry out a move. Return False when it changed nothing because the CPU is blocked.

    An operation starts with its first step; if that step is blocked, the operation does not start and the CPU stays
    idle.
    Errors: Violation, or OutOfMemoryError.
    """
    cpu = move & 7
    action = move >> 3
    if action == STEP:
        return run_steps(w, cpu, 1)
    if action < EVICT:
        fetch, page = divmod(action - FILL, PAGES)
        w.machine.fill(cpu, page, fetch)
    elif action < START:
        what, page = divmod(action - EVICT, PAGES)
        w.machine.evict(cpu, page, what)
    else:
        kind, _, _, page, count, arg = scope.alphabet[action - START]
        before = w.op_page[cpu]
        operation = OPERATION_OF[kind]
        if operation is not None:
            begin(w, cpu, operation, page, count, arg)
        if not run_steps(w, cpu, 1):
            w.steps[cpu].clear()
            w.op[cpu] = IDLE_OP
            w.op_page[cpu] = before
            w.observer.withdrawn(cpu)
            return False
    return True


def world_of(path: bytes, scope: Scope, strategy: FlushStrategy) -> tuple[World, Oracle]:
    """Return the world that a path without a violation leads to, and its oracle."""
    w, oracle = boot(scope.header, strategy)
    for move in moves_in(path):
        carry_out(w, scope, move)
    return w, oracle
