"""What "simpler" means, stated once: everything else in this package only asks this function."""

from typing import Final, TypeAlias

from fuzz.scenario import Record, Scenario, kinds

# From simple to special; a kernel developer should meet mprotect before migrate.
_KINDS_BY_SIMPLICITY: Final = (
    kinds.READ,
    kinds.WRITE,
    kinds.EXEC,
    kinds.RUN,
    kinds.FILL,
    kinds.EVICT,
    kinds.MPROTECT,
    kinds.MUNMAP,
    kinds.DONTNEED,
    kinds.FORK,
    kinds.MMAP,
    kinds.FREE,
    kinds.UFFD_REGISTER,
    kinds.UFFD_WP,
    kinds.UFFD_UNWP,
    kinds.SWITCH,
    kinds.LAZY,
    kinds.MREMAP,
    kinds.MIGRATE,
    kinds.RECLAIM,
    kinds.AGE,
)
KIND_RANK: Final = tuple(_KINDS_BY_SIMPLICITY.index(kind) for kind in range(len(kinds.KINDS)))
"""Place of each kind in the order of simplicity."""

FIRST_KERNEL_RANK: Final = KIND_RANK[kinds.MPROTECT]
"""Kinds below are accesses, ``run`` and what the hardware does by itself; from here on, calls."""

# Completion, then the named points in the order in which an operation meets them, then counts of
# steps: a count names nothing and changes its meaning when an operation gains a step.
RUNS_BY_SIMPLICITY: Final = (
    0,
    *range(kinds.FIRST_POINT, kinds.FIRST_POINT + len(kinds.POINTS)),
    *range(1, kinds.MAX_STEPS + 1),
)
RUN_RANK: Final = tuple(
    RUNS_BY_SIMPLICITY.index(run) if run in RUNS_BY_SIMPLICITY else len(RUNS_BY_SIMPLICITY)
    for run in range(32)
)
"""Place of each value of the run field in the order of simplicity."""

PROTECTIONS_BY_SIMPLICITY: Final = tuple(
    kinds.PROTECTIONS.index(name) for name in ("none", "r", "rw", "rx", "rwx", "w", "x", "wx")
)
_PROTECTION_RANK: Final = tuple(
    PROTECTIONS_BY_SIMPLICITY.index(value) for value in range(len(kinds.PROTECTIONS))
)

Key: TypeAlias = tuple[object, ...]


def argument_rank(kind: int, arg: int) -> int:
    """Smaller for a simpler argument of the same kind; distinct for distinct arguments."""
    if kinds.KINDS[kind].argument in (kinds.PROTECTION, kinds.MAPPING):
        low = (1 << kinds.MAP_SHIFT) - 1
        return arg & ~low | _PROTECTION_RANK[arg & low]
    return arg


def simplicity_key(scenario: Scenario) -> Key:
    """A total order of canonical scenarios: the simpler of two has the smaller key.

    Shortlex: fewer records; then fewer calls into the kernel; fewer pauses, and of these fewer that
    count steps; then the header (CPUs, pages, machine switches, address-space identifiers, batch,
    layout); then the records in turn, each by CPU, kind, page, count, argument and run. Distinct
    canonical scenarios have distinct keys.
    """
    header, records = scenario
    calls = pauses = counted = 0
    for kind, _, run, _, _, _ in records:
        calls += KIND_RANK[kind] >= FIRST_KERNEL_RANK
        pauses += run != 0
        counted += 0 < run < kinds.FIRST_POINT
    return (
        (len(records), calls, pauses, counted),
        (
            header.cpus,
            header.pages,
            header.machine.bit_count(),
            header.machine,
            header.asids,
            header.batch,
            header.layout,
        ),
        tuple(map(record_key, records)),
    )


def record_key(record: Record) -> tuple[int, ...]:
    """A total order of canonical records of one scenario."""
    kind, cpu, run, page, count, arg = record
    return (cpu, KIND_RANK[kind], page, count, argument_rank(kind, arg), RUN_RANK[run])
