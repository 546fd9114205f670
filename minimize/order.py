"""The length of a scenario (`length`), and the meaning of "simpler" (`simplicity_key`): each is stated only here."""

from typing import Final, TypeAlias

from shootdown.mm.operations import BY_NUMBER
from shootdown.scenario import Record, Scenario, kinds

_CHOICE_RANK: Final = 0.5
"""The choices of the schedule and of the hardware: after accesses, before calls."""
KINDS_BY_SIMPLICITY: Final = tuple(
    sorted(
        range(len(kinds.KINDS)),
        key=lambda kind: (BY_NUMBER[kind].rank if kind in BY_NUMBER else _CHOICE_RANK, kind),
    )
)
"""Every kind: accesses, then everything else that is not a call of the kernel, then calls, from the best known to those
that the kernel makes by itself.
"""

# Completion, then the named points in the order in which an operation meets them, then counts of
# steps: a count names nothing, and it means another place when an operation gets one more step.
RUNS_BY_SIMPLICITY: Final = (
    0,
    *range(kinds.FIRST_POINT, kinds.FIRST_POINT + len(kinds.POINTS)),
    *range(1, kinds.MAX_STEPS + 1),
)

PROTECTIONS_BY_SIMPLICITY: Final = tuple(
    kinds.PROTECTIONS.index(name) for name in ("none", "r", "rw", "rx", "rwx", "w", "x", "wx")
)
"""Fewer bits first; those that no program asks for come last."""


def _ranks(by_simplicity: tuple[int, ...]) -> tuple[int, ...]:
    """Return the position of each value; values that no field can have come last."""
    values = range(max(by_simplicity) + 1)
    return tuple(
        by_simplicity.index(value) if value in by_simplicity else len(values) for value in values
    )


KIND_RANK: Final = _ranks(KINDS_BY_SIMPLICITY)
RUN_RANK: Final = _ranks(RUNS_BY_SIMPLICITY)
PROTECTION_RANK: Final = _ranks(PROTECTIONS_BY_SIMPLICITY)

_FIRST_CALL: Final = sum(
    kind not in BY_NUMBER or not BY_NUMBER[kind].rank for kind in KINDS_BY_SIMPLICITY
)
_PROTECTION_MASK: Final = (1 << kinds.MAP_SHIFT) - 1

_CALLS: Final = KINDS_BY_SIMPLICITY[_FIRST_CALL:]
PROTECTING: Final = next(kind for kind in _CALLS if kinds.KINDS[kind].argument.protected)
"""The simplest call that gives and takes rights."""
STRONG_CALLS: Final = tuple(
    kind
    for kind in _CALLS
    if kinds.KINDS[kind].pages == "range" and kinds.KINDS[kind].argument is kinds.NO_ARGUMENT
)[:2]
"""The two simplest calls that need nothing but a range: they forbid most, and free what can be freed."""

Key: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, ...], ...]]


def cost(record: Record) -> int:
    """Return what a record adds to the length of a scenario: 1, plus 1 for the second access of a copy, plus 1 if it
    pauses.

    A pause is a choice of the schedule like any other, and a reader has to follow it. If a pause were free, a fetch
    that pauses over the mprotect would be shorter than a load, the mprotect and the fetch, and every minimum would hide
    its accesses in pauses.
    """
    return 1 + (record[0] == kinds.COPY) + (record[2] != 0)


def length(scenario: Scenario) -> int:
    """Return the length of a scenario: its records plus its pauses."""
    return sum(map(cost, scenario.records))


def simplicity_key(scenario: Scenario) -> Key:
    """Return a key that orders canonical scenarios totally: the simpler of two has the smaller key.

    Shortlex: the smaller `length`; then fewer calls of the kernel, fewer pauses, and fewer pauses
    after a number of steps; then the smaller header, by CPUs, pages, machine switches, identifiers,
    batch and layout; then, from the first record on, the smaller record, by CPU, kind, count, page,
    argument and run. Distinct canonical scenarios have distinct keys.
    """
    header, records = scenario
    calls = pauses = counted = 0
    for kind, _, run, _, _, _ in records:
        calls += KIND_RANK[kind] >= _FIRST_CALL
        pauses += run != 0
        counted += 0 < run < kinds.FIRST_POINT
    machine = header.machine
    return (
        (length(scenario), calls, pauses, counted),
        (
            header.cpus,
            header.pages,
            machine.bit_count(),
            machine,
            header.asids,
            header.batch,
            header.layout,
        ),
        tuple(map(_record_key, records)),
    )


def _record_key(record: Record) -> tuple[int, ...]:
    kind, cpu, run, page, count, arg = record
    if kinds.KINDS[kind].argument.protected:
        arg = arg & ~_PROTECTION_MASK | PROTECTION_RANK[arg & _PROTECTION_MASK]
    return (cpu, KIND_RANK[kind], count, page, arg, RUN_RANK[run])
