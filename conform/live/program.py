"""A scenario as a program for the driver, beside what the models show of it.

The models run first, one operation after the other: they say in which address space each operation runs, and which one
a fork creates. So the driver needs no rule of its own for this.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from shootdown.conform.live.commands import Command
from shootdown.conform.live.known import Known
from shootdown.machine.entry import PRESENT, PROTNONE, SWP_UFFD_WP, UFFD_WP
from shootdown.machine.geometry import PAGES
from shootdown.mm.state import VM_FILE, VM_SHARED
from shootdown.mm.tables import is_marker, is_special, leaf_of
from shootdown.mm.thp import huge_possible
from shootdown.mm.world import FlushStrategy, World
from shootdown.run.execute import apply, boot, finish
from shootdown.run.lockstep import ACCERR, ACCESS, MAPERR, USERFAULTFD, Recorder, Shown
from shootdown.run.oracle import Violation
from shootdown.scenario import Record, Scenario, kinds

STATUS_OF: Final = {
    ACCESS: "DONE",
    MAPERR: "MAPERR",
    ACCERR: "ACCERR",
    USERFAULTFD: "TRAPPED",
}
LAYOUT_MAPPINGS: Final = {
    kinds.PRIVATE: kinds.PROTECTIONS.index("rw") | kinds.MAP_PRIVATE << kinds.MAP_SHIFT,
    kinds.SHARED: kinds.PROTECTIONS.index("rw") | kinds.MAP_SHARED << kinds.MAP_SHIFT,
    kinds.HUGE: kinds.PROTECTIONS.index("rw") | kinds.MAP_HUGE << kinds.MAP_SHIFT,
    kinds.READONLY: kinds.PROTECTIONS.index("r") | kinds.MAP_PRIVATE << kinds.MAP_SHIFT,
    kinds.FILE: kinds.PROTECTIONS.index("rw") | kinds.MAP_FILE << kinds.MAP_SHIFT,
}
"""What each layout that can be driven maps at the start, as an argument of mmap; an empty one maps nothing."""

ON_RANGE: Final = {
    kinds.MUNMAP: "MUNMAP",
    kinds.DONTNEED: "DONTNEED",
    kinds.FREE: "FREE",
    kinds.UFFD_REGISTER: "REGISTER",
    kinds.UFFD_WP: "PROTECT",
    kinds.UFFD_UNWP: "RESOLVE",
    kinds.PUNCH: "PUNCH",
    kinds.WRITEBACK: "WRITEBACK",
    kinds.CLEAR_REFS: "CLEAR_REFS",
    kinds.READ: "READ",
    kinds.EXEC: "EXEC",
}
"""Operations that have no argument besides page and count."""


class Expected(NamedTuple):
    """What the models show: the outcome of an access ("" for all else), and the pages that are mapped after it."""

    status: str
    value: int
    present: int
    protected: int
    shared: int
    """Pages of the file or of shared memory, which Linux may map around a fault."""
    zero: int
    """Pages that map the zero page, which a fork may leave to the child's faults (vma_needs_copy in mm/memory.c)."""


class Planned(NamedTuple):
    """A command, the position of its record (-1: before the first), and what the models show."""

    command: Command
    record: int
    expected: Expected


class Program(NamedTuple):
    """A scenario for the driver.

    `large`: its pages are quarters of a page table's 2 MiB, so that huge pages fit.
    `cut`: the known difference at which it ends, before its scenario does.
    """

    large: bool
    steps: tuple[Planned, ...]
    cut: str = ""


class NotLegal(Exception):
    """The models break a rule by themselves; there is nothing to compare."""


def program_of(scenario: Scenario, strategy: FlushStrategy, known: Sequence[Known] = ()) -> Program:
    """Return the program of a scenario, up to the first operation that the kernel is `known` to perform differently.

    All operations of the scenario are driven, and run to their ends without a pause.
    Errors: NotLegal.
    """
    header = scenario.header
    w, booted = boot(header, strategy, Recorder)
    oracle = cast("Recorder", booted)
    planned = [_at_start(header.layout, header.pages)]
    cut = ""
    try:
        for position, record in enumerate(scenario.records):
            cut = next((one.name for one in known if one.applies(w, record)), "")
            if cut:
                break
            step = _step(w, oracle, position, record)
            if step is not None:
                planned.append(step)
        for cpu in range(header.cpus):
            finish(w, cpu)
        oracle.at_rest()
    except Violation as violation:
        raise NotLegal(violation.reason) from None
    finally:
        oracle.detach()
    steps = [Planned(Command("RESET", 0, 0), -1, _NOTHING), *filter(None, planned)]
    return Program(is_large(scenario), tuple(steps), cut)


def is_large(scenario: Scenario) -> bool:
    """Return whether a scenario maps anything for huge pages."""
    return scenario.header.layout == kinds.HUGE or any(
        record[0] == kinds.MMAP and record[5] >> kinds.MAP_SHIFT == kinds.MAP_HUGE
        for record in scenario.records
    )


_NOTHING: Final = Expected("", 0, 0, 0, 0, 0)


def _at_start(layout: int, pages: int) -> Planned | None:
    if layout == kinds.EMPTY:
        return None
    argument = LAYOUT_MAPPINGS[layout]
    return Planned(Command("MMAP", 0, 0, 0, pages, argument), -1, _NOTHING)


def _step(w: World, oracle: Recorder, position: int, record: Record) -> Planned | None:
    """Apply a record to the models, and return its command; None where Linux has nothing to do."""
    kind, cpu, _, page, count, argument = record
    mm = w.task_mm[cpu]
    live = w.live.copy()
    seen = len(oracle.shown)
    stamp = w.stamp
    # Asked before the collapse: the collapse itself does not change the answer, but the models may refuse it.
    collapses = kind == kinds.COLLAPSE and live[argument] and huge_possible(w, argument, page // 4)
    apply(w, record)
    shown = oracle.shown[seen:]
    if kind in ON_RANGE:
        command = Command(ON_RANGE[kind], mm, cpu, page, count)
    elif kind == kinds.WRITE:
        command = Command("WRITE", mm, cpu, page, value=stamp + 1)
    elif kind == kinds.COPY:
        command = Command("COPY", mm, cpu, page, target=argument)
    elif kind in (kinds.MMAP, kinds.MPROTECT):
        command = Command(
            "MMAP" if kind == kinds.MMAP else "MPROTECT", mm, cpu, page, count, argument
        )
    elif kind == kinds.MREMAP:
        if argument + count > w.pages:
            return None
        command = Command("MREMAP", mm, cpu, page, count, target=argument)
    elif kind == kinds.FORK:
        made = [space for space, was in enumerate(live) if w.live[space] and not was]
        if not made:
            return None
        command = Command("FORK", mm, cpu, target=made[0])
    elif kind == kinds.EXIT:
        if w.live[mm]:
            return None
        command = Command("EXIT", mm, cpu)
    elif kind == kinds.AGE and live[argument]:
        command = Command("COLD", argument, cpu, page)
    elif collapses:
        command = Command("COLLAPSE", argument, cpu, page)
    else:
        return None
    return Planned(command, position, _expected(w, command, shown))


def _expected(w: World, command: Command, shown: list[Shown]) -> Expected:
    mm = command.space
    status, value = "", 0
    if shown:
        word, *_, value = shown[-1]
        status = STATUS_OF[word]
        if command.operation != "READ":
            value = 0
    if not w.live[mm]:
        return Expected(status, value, 0, 0, 0, 0)
    present = protected = shared = zero = 0
    for page in range(PAGES):
        entry = leaf_of(w, mm, page)
        bit = 1 << page
        if entry & (PRESENT | PROTNONE):
            present |= bit
            protected |= bit if entry & UFFD_WP else 0
            zero |= bit if is_special(entry) else 0
        elif is_marker(entry) or entry & SWP_UFFD_WP:
            protected |= bit
        if w.vma[mm][page] & (VM_SHARED | VM_FILE):
            shared |= bit
    return Expected(status, value, present, protected, shared, zero)
