"""What the models and the kernel show of one program, side by side."""

from typing import Final, NamedTuple

from shootdown.conform.live.commands import DONE, HAS_PAGEMAP, Command, Result
from shootdown.conform.live.driver import ProcessKilled, Runs
from shootdown.conform.live.known import FAULT_AROUND, ZERO_PAGE
from shootdown.conform.live.program import Planned, Program
from shootdown.mm.page_mask import mask_of

PROCESS: Final = "process"
"""The name of the difference when a process of the program is killed: if it happens again, the kernel kills it;
otherwise the killer is unknown.
"""


class Disagreement(NamedTuple):
    """The first command for which the kernel shows something other than the models.

    `record` is the position of its record in the scenario; `model` and `kernel` say in words what each shows.
    """

    record: int
    what: str
    model: str
    kernel: str


class Compared(NamedTuple):
    """How many commands and accesses agreed, the names of the known differences that were seen, and the first
    disagreement.
    """

    commands: int
    accesses: int
    explained: frozenset[str]
    disagreement: Disagreement | None


def compare(driver: Runs, program: Program) -> Compared:
    """Run a program on the kernel, and compare each access, and after each command what is mapped.

    Errors: DriverFailed.
    """
    killed = ""
    try:
        results = driver.run([planned.command for planned in program.steps], large=program.large)
    except ProcessKilled as error:
        results, killed = error.results, str(error)
    looked = bool(driver.features & HAS_PAGEMAP) and not program.large
    explained = {program.cut} - {""}
    accesses = 0
    # For each address space, the zero pages that a fork may have left out: nothing is there to write-protect.
    left: dict[int, int] = {}
    for number, (planned, result) in enumerate(zip(program.steps, results, strict=False)):
        if _protects(planned.command) & left.get(planned.command.space, 0):
            return Compared(number, accesses, frozenset(explained | {ZERO_PAGE}), None)
        _note_left(left, planned, result if looked else None)
        found = difference(planned, result, pagemap=looked)
        if found is not None:
            return Compared(number, accesses, frozenset(explained), found)
        if looked:
            explained |= _explained(planned, result)
        accesses += bool(planned.expected.status)
    died = None
    if len(results) < len(program.steps):
        planned = program.steps[len(results)]
        died = Disagreement(planned.record, PROCESS, "goes on", killed)
    return Compared(len(results), accesses, frozenset(explained), died)


def _protects(command: Command) -> int:
    """Return the mask of the pages that a command write-protects for userfaultfd."""
    return mask_of(command.page, command.pages) if command.operation == "PROTECT" else 0


def _note_left(left: dict[int, int], planned: Planned, result: Result | None) -> None:
    """Note the pages that the models map to zeros and the kernel does not, if `result` tells what is mapped."""
    command, _, expected = planned
    if result is None:
        left[command.space] = left.get(command.space, 0) & expected.zero
    else:
        left[command.space] = expected.zero & ~result.present
    if command.operation == "FORK":
        left[command.target] = expected.zero


def _explained(planned: Planned, result: Result) -> set[str]:
    """Return the known differences in what is mapped."""
    expected = planned.expected
    found = set()
    if result.present & ~expected.present:
        found.add(FAULT_AROUND)
    if expected.present & ~result.present:
        found.add(ZERO_PAGE)
    return found


def difference(planned: Planned, result: Result, *, pagemap: bool) -> Disagreement | None:
    """Return in what way a command's result differs from what the models show; None if it does not."""
    command, record, expected = planned
    if expected.status:
        if result.status != expected.status:
            return Disagreement(
                record, "outcome", _words(expected.status, expected.value), _words(*result[:2])
            )
        if command.operation == "READ" and result.value != expected.value:
            return Disagreement(
                record, "value", _words(DONE, expected.value), _words(DONE, result.value)
            )
    if not pagemap:
        return None
    # Each only in the direction in which it is known to differ (known.ALWAYS).
    more = result.present & ~expected.present & ~expected.shared
    less = expected.present & ~result.present & ~expected.zero
    if more | less:
        return Disagreement(record, "mapped", _pages(expected.present), _pages(result.present))
    if (result.protected ^ expected.protected) & ~(result.present & ~expected.present):
        return Disagreement(
            record,
            "write-protected for userfaultfd",
            _pages(expected.protected),
            _pages(result.protected),
        )
    return None


def _words(status: str, value: int) -> str:
    return f"{status} {value}" if status == DONE else status


def _pages(mask: int) -> str:
    return " ".join(f"p{page}" for page in range(mask.bit_length()) if mask >> page & 1) or "none"
