"""Interleavings: the actions of each CPU, put into the one order in which all of them happen.

A program is the list of the operations of one CPU in order, each of which runs to completion; a schedule is a list of
records. A schedule starts the operations of each program in program order, never starts an operation on a CPU that has
one in flight (it sends `run` records first), and leaves no operation in flight at its end. `programs` undoes each
of them.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from shootdown.fuzz.inputs.draws import Draws
from shootdown.fuzz.inputs.pauses import OF_MODELS, Pauses
from shootdown.scenario.kinds import EXEC, KINDS, RUN
from shootdown.scenario.record import Record, Scenario

Program: TypeAlias = tuple[Record, ...]

_PAUSABLE: Final = tuple(kind.pausable for kind in KINDS)


def programs(scenario: Scenario) -> tuple[Program, ...]:
    """Return the program of each CPU: its operations in order, without pauses and `run`."""
    lists: list[list[Record]] = [[] for _ in range(scenario.header.cpus)]
    for kind, cpu, _, page, count, arg in scenario.records:
        if kind != RUN:
            lists[cpu].append((kind, cpu, 0, page, count, arg))
    return tuple(tuple(operations) for operations in lists)


def lockstep(programs: Sequence[Program]) -> tuple[Record, ...]:
    """Run every operation to completion; the CPUs that have one left take turns."""
    longest = max((len(program) for program in programs), default=0)
    return tuple(
        program[turn] for turn in range(longest) for program in programs if turn < len(program)
    )


def random_interleaving(
    draws: Draws, programs: Sequence[Program], pauses: Pauses = OF_MODELS
) -> tuple[Record, ...]:
    """Draw the next CPU anew before each record, and pause about a third of the operations.

    Every schedule that the cuts can express has a chance, but the chance of a particular one falls exponentially with
    its length; `pct` exists for that reason.
    """
    records: list[Record] = []
    position = [0] * len(programs)
    in_flight = [False] * len(programs)
    live = [cpu for cpu, program in enumerate(programs) if program]
    # A scaled random() replaces choice(), which costs four times as much.
    random = draws.random
    cuts = pauses.cuts
    while live:
        cpu = live[int(random() * len(live))]
        program, at = programs[cpu], position[cpu]
        # Hardware events have no steps, so they also happen in the middle of an operation.
        hardware = at < len(program) and not _PAUSABLE[program[at][0]]
        if in_flight[cpu] and not (hardware and random() < 0.5):
            run = cuts[int(random() * len(cuts))] if random() < 0.4 else 0
            records.append(_go_on(cpu, run))
            in_flight[cpu] = run != 0
        else:
            operation = program[at]
            position[cpu] = at + 1
            # An access has few steps: most of its pauses would fall after its end.
            share = 0.25 if operation[0] <= EXEC else 0.5
            if hardware or random() >= share:
                records.append(operation)
            else:
                records.append(_paused(operation, cuts[int(random() * len(cuts))]))
                in_flight[cpu] = True
        if position[cpu] == len(program) and not in_flight[cpu]:
            live.remove(cpu)
    return tuple(records)


def pct(
    draws: Draws, programs: Sequence[Program], depth: int, pauses: Pauses = OF_MODELS
) -> tuple[Record, ...]:
    """Let the CPU with the highest priority that has work run; priorities change at most depth - 1 times.

    Probabilistic concurrency testing: S. Burckhardt, P. Kothari, M. Musuvathi, S. Nagarakatte, "A
    Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010. CPUs get
    distinct initial priorities at random, all above depth - 1; the i-th of depth - 1 change points,
    drawn in no order, lowers the CPU that runs into it to priority i. The depth is at least 1.

    Departures. A scenario is written before it runs, so the number of steps of an operation is not
    known: change points are drawn over operations, not steps; the operation at one is cut at a drawn
    step or named point, and the rest of that CPU has the new priority. An operation that has fewer steps than the cut,
    or none, ends first; the executor handles an operation that blocks on a lock. So the probability that the paper
    proves for a bug of that depth does not hold here as a number.
    """
    # Each change adds one record, which continues the operation that was cut.
    length = sum(len(program) for program in programs) + depth - 1
    points = draws.sample(range(length), k=min(depth - 1, length))
    lowered = {point: priority for priority, point in enumerate(points, 1)}
    cpus = range(len(programs))
    order = draws.sample(cpus, k=len(programs))
    priorities = {cpu: depth + rank for rank, cpu in enumerate(order)}
    position = [0] * len(programs)
    in_flight = [False] * len(programs)
    records: list[Record] = []
    while live := [cpu for cpu in cpus if in_flight[cpu] or position[cpu] < len(programs[cpu])]:
        cpu = max(live, key=priorities.__getitem__)
        priority = lowered.get(len(records))
        cut = 0
        if priority is not None:
            priorities[cpu] = priority
            cut = draws.choice(pauses.cuts)
        if in_flight[cpu]:
            records.append(_go_on(cpu, cut))
            in_flight[cpu] = cut != 0
            continue
        operation = programs[cpu][position[cpu]]
        position[cpu] += 1
        if cut and _PAUSABLE[operation[0]]:
            operation = _paused(operation, cut)
            in_flight[cpu] = True
        records.append(operation)
    return tuple(records)


def _paused(operation: Record, run: int) -> Record:
    kind, cpu, _, page, count, arg = operation
    return (kind, cpu, run, page, count, arg)


def _go_on(cpu: int, run: int) -> Record:
    return (RUN, cpu, run, 0, 1, 0)
