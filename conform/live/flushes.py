"""How many flushes an operation asks for: the kernel, by the tracepoint tlb:tlb_flush, and the policy.

The driver counts on the CPU of the operation: each request (flush_tlb_mm_range and its callees, arch/x86/mm/tlb.c)
flushes the own TLB once ("local MM shootdown"), whether it interrupts other CPUs or not.
"""

from typing import Final, NamedTuple

from shootdown.conform.live.cases import on_two_cpus
from shootdown.conform.live.commands import OPERATIONS, Command, Result
from shootdown.conform.live.driver import Runs
from shootdown.conform.live.left_out import is_driven
from shootdown.conform.live.program import program_of
from shootdown.mm.state import FLUSHES, IPIS
from shootdown.mm.world import FlushStrategy
from shootdown.run.execute import apply, boot
from shootdown.scenario import Header, Record, Scenario, kinds

_STATES: Final = {
    "dirty": "write p0",
    "clean": "read p0",
    "read-only": "write p0; mprotect p0-p7 r; read p0",
    "none": "write p0; mprotect p0-p7 none",
    "executable": "write p0; mprotect p0-p7 rwx; exec p0",
}
"""The operations before the changes of protection, by name."""
_CHANGES: Final = ("none", "r", "rw", "rx", "rwx")
_OTHERS: Final = """
private | write p0 | munmap p0
private | read p0 | munmap p0
private | | munmap p0
private | write p0; write p1; write p2 | munmap p0-p2
private | write p0 | dontneed p0
private | read p0 | dontneed p0
private | | dontneed p0
private | write p0 | free p0
private | read p0 | free p0
private | write p0 | mremap p0 to p4
private | write p0; write p4 | mremap p0 to p4
private | | mremap p0 to p4
private | write p0; fork | write p0
private | read p0 | write p0
private | | write p0
private | | read p0
private | write p0 | fork
private | write p0 | clear_refs
private | write p0; write p1 | clear_refs
private | uffd_register p0-p7; write p0 | uffd_wp p0
private | uffd_register p0-p7; read p0 | uffd_wp p0
private | uffd_register p0-p7; write p0; uffd_wp p0 | uffd_unwp p0
private | write p0 | age p0 mm0
private | munmap p0 | mmap p0 rw private
shared | write p0 | dontneed p0
shared | write p0 | munmap p0
shared | write p0 | mprotect p0 r
shared | read p0 | mprotect p0 r
shared | uffd_register p0-p7; write p0 | uffd_wp p0
file | write p0 | writeback p0
file | read p0 | writeback p0
file | write p0 | punch p0
file | | punch p0
file | write p0 | munmap p0
file | write p0 | mprotect p0 r
huge | write p0 | mprotect p0-p3 r
huge | write p0 | mprotect p0 r
huge | write p0 | munmap p0-p3
huge | write p0 | munmap p0
huge | write p0 | dontneed p0-p3
huge | write p0 | dontneed p0
huge | read p0 | munmap p0-p3
huge | write p0 | mremap p0-p3 to p4
huge | write p0 | fork
huge | write p0 | age p0 mm0
"""


_BUSY_PAGE: Final = 7
TRIES: Final = 8
"""How often a case that differs is counted again."""


class Case(NamedTuple):
    """One operation in one state; everything happens on one CPU, after the other one has used the address space."""

    name: str
    header: Header
    setup: tuple[Record, ...]
    operation: Record


class Counts(NamedTuple):
    """What one side asked for: flushes, and how many of them interrupt other CPUs."""

    flushes: int
    interrupting: int


class Compared(NamedTuple):
    """Both sides of one case, and why they differ, if the reason is known."""

    case: Case
    model: Counts
    kernel: Counts
    why: str


def cases() -> list[Case]:
    """Return all cases."""
    lines = [
        f"private | {setup} | mprotect p0-p7 {change}"
        for setup in _STATES.values()
        for change in _CHANGES
    ]
    return [_case(line) for line in (*lines, *_OTHERS.strip().splitlines())]


def _case(line: str) -> Case:
    layout, setup, operation = (part.strip() for part in line.split("|"))
    before = [record.strip() for record in setup.split(";") if record.strip()]
    scenario = on_two_cpus(
        layout,
        [
            # The other CPU is busy in the address space, so that a flush has a CPU to interrupt: a sleeping one is
            # lazy.
            f"cpu1 read p{_BUSY_PAGE}",
            *(f"cpu0 {record}" for record in before),
            f"cpu0 {operation}",
        ],
    )
    *first, last = scenario.records
    name = f"{layout}: {'; '.join(before) or 'nothing'} | {operation}"
    return Case(name, scenario.header, tuple(first), last)


def can_count(case: Case, driven: tuple[int, ...], driver: Runs) -> bool:
    """Return whether every operation of a case can be driven."""
    return is_driven(
        Scenario(case.header, (*case.setup, case.operation)), driven, driver.features, driver.cpus
    )


def model_counts(case: Case, strategy: FlushStrategy) -> Counts:
    """Return what the policy asks for."""
    w, oracle = boot(case.header, strategy)
    for record in case.setup:
        apply(w, record)
    before = w.costs.copy()
    apply(w, case.operation)
    oracle.detach()
    return Counts(w.costs[FLUSHES] - before[FLUSHES], w.costs[IPIS] - before[IPIS])


def kernel_counts(driver: Runs, case: Case, strategy: FlushStrategy) -> Counts:
    """Return what the kernel asks for.

    Errors: DriverFailed.
    """
    program = program_of(Scenario(case.header, (*case.setup, case.operation)), strategy)
    *before, last = (planned.command for planned in program.steps)
    commands = [
        *before,
        Command("HAMMER", 0, 1, _BUSY_PAGE, argument=OPERATIONS["READ"]),
        last._replace(races=True, counts=True),
        Command("SHOWN", 0, 0),
    ]
    return _counts(driver.run(commands, large=program.large)[-2])


def _counts(result: Result) -> Counts:
    return Counts(result.value & 0xFFFF, result.value >> 16 & 0xFFFF)


WHY: Final = {
    kinds.FORK: (
        "fork-of-the-driver",
        "copy_present_ptes, mm/memory.c",
        "the driver's own pages are copied when it goes on, a flush each; the models have the window alone",
    ),
    kinds.UFFD_UNWP: (
        "unprotect-maps-writable",
        "uffd_wp_range, mm/userfaultfd.c, MM_CP_TRY_CHANGE_WRITABLE",
        "the entry is made writable at once and flushed; in the models, as in 2021, the next store faults",
    ),
    kinds.AGE: (
        "cold-is-no-aging",
        "madvise_cold_or_pageout_pte_range, mm/madvise.c",
        "MADV_COLD stands for aging, and flushes in a gather; folio_referenced does not",
    ),
}
"""Operations for which the kernel asks for more flushes: a name, the kernel's function, and the reason."""


def compared(driver: Runs, case: Case, strategy: FlushStrategy) -> Compared:
    """Return both sides of a case; of several tries, the first that agrees.

    `why`: the name of a known difference; "" where both sides are equal or no reason is known.
    Errors: DriverFailed.
    """
    model, kernel = model_counts(case, strategy), kernel_counts(driver, case, strategy)
    for _ in range(TRIES):
        # If another program has taken the second CPU in the meantime, there is nothing to interrupt.
        if kernel == model:
            break
        kernel = kernel_counts(driver, case, strategy)
    known = WHY.get(case.operation[0])
    differs = model != kernel
    # The known differences are additional flushes, each with its interrupts; a flush that interrupts no CPU is none.
    more = kernel.flushes > model.flushes and kernel.interrupting >= model.interrupting
    return Compared(case, model, kernel, known[0] if differs and known and more else "")
