"""Execution of a scenario: one engine for campaigns, replay, minimization and search.

The scenario makes every choice; where it makes none (a blocked CPU, the end of the records), a fixed rule decides. Same
scenario, same policy, same version: the same run.
"""

from collections.abc import Callable
from typing import Final

from shootdown.machine.x86 import Machine
from shootdown.mm.frames import OutOfMemoryError
from shootdown.mm.mmap import FILE, HUGE, PFNMAP, PRIVATE, SHARED, map_pages
from shootdown.mm.operations import BY_NAME, begin
from shootdown.mm.state import HUGE_ZERO_FREE, NOBODY, VM_READ, VM_WRITE
from shootdown.mm.step import STEP_LIMIT, run_steps
from shootdown.mm.tables import new_table
from shootdown.mm.watch import Watch
from shootdown.mm.world import FlushStrategy, World
from shootdown.run.oracle import Oracle, Violation
from shootdown.run.window import holds_table_lock, stale_elsewhere
from shootdown.scenario import kinds
from shootdown.scenario.record import Header, Record, Scenario
from shootdown.scenario.switches import keywords_of
from shootdown.scenario.verdict import ILLEGAL, LEGAL, REASONS, UNDECIDED

_LAYOUTS: Final = {
    kinds.PRIVATE: (VM_READ | VM_WRITE, PRIVATE),
    kinds.SHARED: (VM_READ | VM_WRITE, SHARED),
    kinds.HUGE: (VM_READ | VM_WRITE, HUGE),
    kinds.READONLY: (VM_READ, PRIVATE),
    kinds.FILE: (VM_READ | VM_WRITE, FILE),
    kinds.PFNMAP: (VM_READ | VM_WRITE, PFNMAP),
}
OPERATION_OF: Final = [BY_NAME.get(kind.name) for kind in kinds.KINDS]
"""For each kind; None for a kind that is not an operation."""


class DeadlockError(Exception):
    """No CPU can go on: the model of the kernel is wrong, not the policy."""


class StepLimitError(Exception):
    """The run is longer than STEP_LIMIT."""


class Outcome:
    """What a run showed.

    `reason`: a key of scenario.verdict.REASONS when the verdict is illegal.
    `costs`: the counters of mm.state.
    """

    __slots__ = ("costs", "oracle", "reason", "steps", "verdict", "violation", "world")

    def __init__(self, world: World, oracle: Oracle, verdict: str, reason: str) -> None:
        self.world = world
        self.oracle = oracle
        self.verdict = verdict
        self.reason = reason
        self.violation: Violation | None = None
        self.costs = world.costs
        self.steps = world.executed

    @property
    def rule(self) -> str:
        """Return the rule that was broken, or "" when none was."""
        return REASONS[self.reason][0] if self.verdict == ILLEGAL else ""


def boot(
    header: Header,
    strategy: FlushStrategy,
    oracle_type: type[Oracle] = Oracle,
    machine_type: type[Machine] = Machine,
) -> tuple[World, Oracle]:
    """Return the world that a header describes, and the oracle that watches it."""
    machine = machine_type(header.cpus, **keywords_of(header.machine))
    oracle = oracle_type(machine, header.cpus)
    w = World(
        machine,
        strategy,
        oracle,
        cpus=header.cpus,
        pages=header.pages,
        asids=header.asids,
        batch=header.batch,
    )
    if header.machine & kinds.HUGE_ZERO:
        w.huge_zero = HUGE_ZERO_FREE
    oracle.attach(w)
    w.root[0] = new_table(w)
    w.live[0] = True
    if header.layout in _LAYOUTS:
        prot, kind = _LAYOUTS[header.layout]
        map_pages(w, NOBODY, 0, range(header.pages), prot, kind)
        oracle.contract.map_at_boot(header.pages, prot, kind)
    for cpu in range(header.cpus):
        strategy.boot(w, cpu, 0)
    return w, oracle


Observe = Callable[[World, Oracle, Record, set[int]], None]
"""A function that gets the world and the oracle after a record that leaves an operation in flight, and adds what it saw
to the set.
"""
Applied = Callable[[Oracle, Record], None]
"""A function that gets the oracle after each record."""


def execute(
    scenario: Scenario,
    strategy: FlushStrategy,
    *,
    observe: Observe | None = None,
    shown: set[int] | None = None,
    oracle_type: type[Oracle] = Oracle,
    machine_type: type[Machine] = Machine,
    watch: Watch | None = None,
    applied: Applied | None = None,
) -> Outcome:
    """Run a scenario to its end, or to its first violation.

    `observe`, `shown`: for feedback; they do not change the run.
    `oracle_type`, `watch`, `applied`: for reports; they do not change the run.
    `machine_type`: the processor that the scenario runs on.
    """
    if watch:
        strategy = strategy.watched()
    w, oracle = boot(scenario.header, strategy, oracle_type, machine_type)
    if watch:
        w.watch = watch
    try:
        if observe and shown is not None:
            in_flight = False
            for record in scenario.records:
                apply(w, record)
                # If all CPUs are at rest, only the oracle judges: a feature is a situation inside an operation. A
                # record that runs to its end leaves nothing in flight that was not in flight before.
                if in_flight or record[2]:
                    in_flight = max(w.op) >= 0
                    if in_flight:
                        observe(w, oracle, record, shown)
        elif applied:
            for record in scenario.records:
                apply(w, record)
                applied(oracle, record)
        else:
            for record in scenario.records:
                apply(w, record)
        for cpu in range(w.cpus):
            finish(w, cpu)
        oracle.at_rest()
    except Violation as violation:
        outcome = Outcome(w, oracle, ILLEGAL, violation.reason)
        # The traceback is removed: its frames hold the outcome, and such a cycle would wait for the garbage collector.
        outcome.violation = violation.with_traceback(None)
        return outcome
    except DeadlockError:
        if not w.flush_state.opaque:
            raise
        # The models do not deadlock; a kernel's own text may.
        outcome = Outcome(w, oracle, ILLEGAL, "kernel-stuck")
        outcome.violation = Violation("kernel-stuck", 0, 0, 0, "no CPU can go on")
        return outcome
    except OutOfMemoryError:
        return Outcome(w, oracle, UNDECIDED, "out-of-memory")
    except StepLimitError:
        return Outcome(w, oracle, UNDECIDED, "step-limit")
    finally:
        oracle.detach()
    return Outcome(w, oracle, LEGAL, "")


def apply(w: World, record: Record) -> None:
    """Apply one record.

    An operation that starts on a busy CPU waits until the CPU has finished the one in flight.
    """
    kind, cpu, run, page, count, arg = record
    operation = OPERATION_OF[kind]
    if operation is not None:
        if w.steps[cpu]:
            finish(w, cpu)
        begin(w, cpu, operation, page, count, arg)
        if run:
            pause(w, cpu, run)
        elif not run_steps(w, cpu, STEP_LIMIT) or w.steps[cpu]:
            finish(w, cpu)
    elif kind == kinds.RUN:
        if not w.steps[cpu]:
            return
        if run >= kinds.FIRST_POINT:
            # The CPU may be paused at exactly this point: leave it.
            run_steps(w, cpu, 1)
        if run:
            pause(w, cpu, run)
        else:
            finish(w, cpu)
    elif kind == kinds.FILL:
        w.machine.fill(cpu, page, arg)
    else:
        w.machine.evict(cpu, page, arg)


def pause(w: World, cpu: int, run: int) -> None:
    """Let the CPU execute `run` steps, or the steps before the next one of the point `run`, until it blocks."""
    if run < kinds.FIRST_POINT:
        run_steps(w, cpu, run)
    elif run == kinds.WINDOW:
        before = stale_elsewhere(w, cpu)
        held = holds_table_lock(w, cpu)
        while w.steps[cpu] and run_steps(w, cpu, 1):
            holds = holds_table_lock(w, cpu)
            # Entries that others cache are changed under a table lock: a window opens where one is released.
            if held and not holds and stale_elsewhere(w, cpu) - before:
                return
            held = holds
    else:
        run_steps(w, cpu, STEP_LIMIT, kinds.POINTS[run - kinds.FIRST_POINT])


def finish(w: World, cpu: int) -> None:
    """Let the CPU finish its operation; while it is blocked, the next CPU that can go on makes a step."""
    while not run_steps(w, cpu, STEP_LIMIT):
        _unblock(w, cpu)
        if w.executed > STEP_LIMIT:
            raise StepLimitError
    if w.executed > STEP_LIMIT:
        raise StepLimitError


def _unblock(w: World, cpu: int) -> None:
    for distance in range(1, w.cpus):
        other = (cpu + distance) % w.cpus
        if w.steps[other] and run_steps(w, other, 1):
            return
    message = f"every CPU is blocked or idle while CPU {cpu} waits"
    raise DeadlockError(message)
