"""An access that one CPU repeats while another one performs an operation: what it shows before, during and after.

What is allowed comes from the models: the operation pauses at each of its steps, and the access, whole or paused as
well, happens there, with its translation cached and without. After the return of the operation, the access must show
what the models show after it; during the operation, any of the outcomes of the models is allowed.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from shootdown.conform.live.cases import on_two_cpus
from shootdown.conform.live.commands import MOST_COMMANDS, OPERATIONS, Command, Result, constant
from shootdown.conform.live.driver import Runs
from shootdown.conform.live.left_out import is_driven
from shootdown.conform.live.program import STATUS_OF, Planned, program_of
from shootdown.machine.caches import BOTH
from shootdown.mm.world import FlushStrategy
from shootdown.run.execute import apply, boot, finish
from shootdown.run.lockstep import ACCESS, Recorder, Shown
from shootdown.scenario import Header, Record, Scenario, kinds

OUTCOMES: Final = constant("OUTCOMES")
"""How many different outcomes of one round the driver keeps; more than that count as a disagreement."""
PAUSES_OF_ACCESS: Final = 10
BEFORE: Final = constant("BEFORE")
MEANWHILE: Final = constant("MEANWHILE")
AFTER: Final = constant("AFTER")
MANY: Final = ("more outcomes than are kept", 0)
PHASES: Final = {BEFORE: "before the operation", MEANWHILE: "meanwhile", AFTER: "after its return"}
OPERATOR: Final = 0
HAMMER: Final = 1
"""The CPU that performs the operation, and the CPU that repeats the access."""

_TABLE: Final = """
private | write p0 | mprotect p0 r | write p0
private | write p0 | mprotect p0 none | read p0
private | write p0 | mprotect p0 none | write p0
private | mprotect p0 rx; read p0 | mprotect p0 r | exec p0
private | mprotect p0 rwx; write p0 | mprotect p0 rw | exec p0
private | write p0 | mprotect p0-p3 r | write p0
private | write p3; write p4 | mprotect p0-p7 r | write p4
private | mprotect p0 r; read p0 | mprotect p0 rw | write p0
private | mprotect p0 rw; read p0 | mprotect p0 rwx | exec p0
private | write p0 | munmap p0 | read p0
private | write p0 | munmap p0 | write p0
private | write p0; write p7 | munmap p0-p7 | read p7
private | write p0 | dontneed p0 | read p0
private | write p0; write p5 | dontneed p0-p7 | read p5
private | write p0 | free p0 | read p0
private | write p0 | mremap p0 to p4 | read p0
private | write p0 | mremap p0 to p4 | write p0
private | write p0; write p4 | mremap p0 to p4 | read p4
private | write p0; write p1 | mremap p0-p3 to p4 | read p1
private | write p0 | fork | write p0
private | write p0 | fork | read p0
private | write p0 | clear_refs | write p0
private | write p0 | age p0 mm0 | write p0
private | uffd_register p0-p7; write p0 | uffd_wp p0 | write p0
private | uffd_register p0-p7; write p0 | uffd_wp p0-p7 | read p0
private | uffd_register p0-p7; write p0; uffd_wp p0 | uffd_unwp p0 | write p0
private | munmap p0 | mmap p0 rw private | read p0
shared | write p0 | dontneed p0 | read p0
shared | write p0 | munmap p0 | read p0
shared | write p0 | mprotect p0 r | write p0
shared | uffd_register p0-p7; write p0 | uffd_wp p0 | write p0
file | write p0 | punch p0 | read p0
file | write p0 | writeback p0 | write p0
file | write p0 | munmap p0 | read p0
huge | write p0 | mprotect p0-p3 r | write p1
huge | write p0 | mprotect p1 r | write p1
huge | write p0 | munmap p0-p3 | read p1
huge | write p0 | dontneed p1 | read p1
huge | write p0 | mremap p0-p3 to p4 | read p1
huge | mprotect p0-p3 r; read p0; read p1 | collapse p0 mm0 | read p1
huge | write p0 | fork | write p0
"""
"""The layout, the records before the operation, the operation, and the repeated access."""


class Race(NamedTuple):
    """One race: the records before it, the operation, and the access; all run to their ends."""

    name: str
    header: Header
    setup: tuple[Record, ...]
    operation: Record
    access: Record


class Allowed(NamedTuple):
    """Outcomes by phase; each is a status and, for a load, its value."""

    before: frozenset[tuple[str, int]]
    meanwhile: frozenset[tuple[str, int]]
    after: frozenset[tuple[str, int]]

    def of(self, phase: int) -> frozenset[tuple[str, int]]:
        """Return the outcomes that a phase allows."""
        return {BEFORE: self.before, MEANWHILE: self.meanwhile, AFTER: self.after}[phase]


class Forbidden(NamedTuple):
    """An outcome that its phase does not allow."""

    race: Race
    phase: int
    outcome: tuple[str, int]


class Raced(NamedTuple):
    """What the rounds of a race have shown; `forbidden` is the first outcome that is not allowed."""

    rounds: int
    accesses: int
    shown: dict[int, set[tuple[str, int]]]
    forbidden: Forbidden | None


def races() -> list[Race]:
    """Return all races."""
    return [_race(line) for line in _TABLE.strip().splitlines()]


def _race(line: str) -> Race:
    layout, setup, operation, access = (part.strip() for part in line.split("|"))
    scenario = on_two_cpus(
        layout,
        [
            *(f"cpu{OPERATOR} {record.strip()}" for record in setup.split(";")),
            f"cpu{OPERATOR} {operation}",
            f"cpu{HAMMER} {access}",
        ],
    )
    *first, raced, repeated = scenario.records
    return Race(
        f"{operation} / {access} ({layout})", scenario.header, tuple(first), raced, repeated
    )


def allowed(race: Race, strategy: FlushStrategy) -> Allowed:
    """Return what the models allow in each phase."""
    before: set[tuple[str, int]] = set()
    meanwhile: set[tuple[str, int]] = set()
    after: set[tuple[str, int]] = set()
    _, cpu, _, page, *_ = race.access
    evict = (kinds.EVICT, cpu, 0, page, 1, BOTH)
    for steps in range(_steps_of(race, strategy) + 1):
        for pause in range(PAUSES_OF_ACCESS):
            for dropped in ((), (evict,)):
                early, middle, late = _run(race, strategy, steps, pause, dropped)
                before |= early
                meanwhile |= early | middle | late
                after |= late
    return Allowed(frozenset(before), frozenset(meanwhile), frozenset(after))


def _steps_of(race: Race, strategy: FlushStrategy) -> int:
    """Return how many steps the operation has when no other CPU does anything."""
    w, oracle = boot(race.header, strategy, Recorder)
    for record in (*race.setup, race.access):
        apply(w, record)
    begun = w.executed
    apply(w, race.operation)
    oracle.detach()
    return w.executed - begun


def _run(
    race: Race, strategy: FlushStrategy, steps: int, pause: int, dropped: tuple[Record, ...]
) -> tuple[set[tuple[str, int]], set[tuple[str, int]], set[tuple[str, int]]]:
    """Return what the access shows before, during and after the operation; both pause after so many steps."""
    w, oracle = boot(race.header, strategy, Recorder)
    assert isinstance(oracle, Recorder)  # noqa: S101 - it is what was asked for
    for record in (*race.setup, race.access, race.access):
        apply(w, record)
    early = len(oracle.shown)
    for record in _paused(race.operation, steps):
        apply(w, record)
    for record in (*dropped, *_paused(race.access, pause)):
        apply(w, record)
    finish(w, OPERATOR)
    late = len(oracle.shown)
    finish(w, HAMMER)
    # An access that began before the return and ends after it counts as one that ran during the operation.
    middle = max(late, early + 1)
    for _ in range(3):
        apply(w, race.access)
    oracle.detach()
    shown = oracle.shown
    return (
        _words(race, shown[:early]),
        _words(race, shown[early:middle]),
        _words(race, shown[middle:]),
    )


def _paused(record: Record, steps: int) -> Iterator[Record]:
    """Yield records that begin an operation and make this many steps of it; 0 means all steps."""
    kind, cpu, _, page, count, arg = record
    first = min(steps, kinds.MAX_STEPS)
    yield (kind, cpu, first, page, count, arg)
    steps -= first
    while steps > 0:
        yield (kinds.RUN, cpu, min(steps, kinds.MAX_STEPS), 0, 1, 0)
        steps -= kinds.MAX_STEPS


def _words(race: Race, shown: list[Shown]) -> set[tuple[str, int]]:
    """Return the outcomes of the CPU that repeats the access."""
    loads = race.access[0] == kinds.READ
    return {
        (STATUS_OF[word], value if loads and word == ACCESS else 0)
        for word, cpu, _, _, value in shown
        if cpu == HAMMER
    }


def rounds_of(race: Race, strategy: FlushStrategy) -> tuple[bool, list[Command]]:
    """Return the commands of one round, and whether its pages are large."""
    scenario = Scenario(race.header, (*race.setup, race.operation))
    program = program_of(scenario, strategy)
    *before, last = program.steps
    name = {kinds.READ: "READ", kinds.WRITE: "WRITE", kinds.EXEC: "EXEC"}[race.access[0]]
    hammer = Command("HAMMER", 0, HAMMER, race.access[3], argument=OPERATIONS[name], value=1 << 40)
    shown = [Command("SHOWN", 0, OPERATOR, argument=i) for i in range(OUTCOMES)]
    return program.large, [
        *(planned.command for planned in before),
        hammer,
        last.command._replace(races=True),
        *shown,
        *_gone(last),
    ]


def _gone(last: Planned) -> list[Command]:
    """Return what ends the child that a fork has made: the next round makes another child."""
    if last.command.operation != "FORK":
        return []
    return [Command("EXIT", last.command.target, OPERATOR)]


def can_race(race: Race, driven: tuple[int, ...], driver: Runs) -> bool:
    """Return whether every operation of a race can be driven."""
    return is_driven(
        Scenario(race.header, (*race.setup, race.operation, race.access)),
        driven,
        driver.features,
        driver.cpus,
    )


def run_race(driver: Runs, race: Race, rounds: int, strategy: FlushStrategy, may: Allowed) -> Raced:
    """Run as many rounds of a race as one program can hold, at most `rounds`, and judge what they show.

    Errors: DriverFailed.
    """
    large, commands = rounds_of(race, strategy)
    number = min(rounds, MOST_COMMANDS // len(commands))
    results = driver.run(commands * number, large=large)
    shown: dict[int, set[tuple[str, int]]] = {phase: set() for phase in PHASES}
    accesses = 0
    for at in range(0, len(results), len(commands)):
        found = [
            result
            for result, command in zip(results[at : at + len(commands)], commands, strict=False)
            if command.operation == "SHOWN"
        ]
        accesses += found[0].error if found else 0
        for result in found:
            _collect(result, shown)
    return Raced(number, accesses, shown, _judge(race, shown, may))


def _collect(result: Result, shown: dict[int, set[tuple[str, int]]]) -> None:
    if result.protected:
        shown[MEANWHILE].add(MANY)
    for phase in PHASES:
        if result.present & phase:
            shown[phase].add((result.status, result.value))


def _judge(race: Race, shown: dict[int, set[tuple[str, int]]], may: Allowed) -> Forbidden | None:
    for phase, outcomes in shown.items():
        for outcome in sorted(outcomes):
            if outcome not in may.of(phase):
                return Forbidden(race, phase, outcome)
    return None
