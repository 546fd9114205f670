"""User read, write and instruction fetch: one step if the hardware translates the address, else the fault handler."""

from typing import Final

from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.machine.geometry import FRAME_MASK
from shootdown.machine.tlb_entry import INCARNATION_AT
from shootdown.machine.x86 import PF_INSTR, PF_PK, PF_PROT
from shootdown.mm.arguments import DESTINATION, NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.fault import fault_enter
from shootdown.mm.operation import IDLE_OP
from shootdown.mm.state import Step
from shootdown.mm.step import step
from shootdown.mm.world import World

RETRIES: Final = 16
"""The number of faults of one access after which the handler counts as unable to heal it.

x86 needs at most one spurious fault per address (SDM 4.10.4.3); the rest is room for other CPUs that change the page
again between two tries.
"""

_WORD_AT: Final = INCARNATION_AT - 2
_WORDS: Final = FRAME_MASK << 2
"""The position and the mask, in a TLB entry, of the index in memory of its frame's first word."""


def start_read(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    """Begin a load by the CPU's thread."""
    w.steps[cpu].append((user_access, page, READ, 0))


Operation(
    number=0,
    name="read",
    start=start_read,
    summary="user load from a page",
    pages="one",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.READ,
    access=True,
    rank=0,
    weight=43,
    layouts=(),
    needs=(),
    shares=(),
    holds_page=False,
    simpler_as=(),
)


def start_write(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    """Begin a store of a value that no other store has."""
    w.steps[cpu].append((user_access, page, WRITE, 0))


Operation(
    number=1,
    name="write",
    start=start_write,
    summary="user store to a page",
    pages="one",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.READ,
    access=True,
    rank=0,
    weight=43,
    layouts=(),
    needs=(),
    shares=(),
    holds_page=False,
    simpler_as=(),
)


def start_exec(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    """Begin an instruction fetch."""
    w.steps[cpu].append((user_access, page, EXEC, 0))


Operation(
    number=2,
    name="exec",
    start=start_exec,
    summary="instruction fetch from a page",
    pages="one",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.READ,
    access=True,
    rank=0,
    weight=16,
    layouts=(),
    needs=(),
    shares=(),
    holds_page=False,
    simpler_as=(),
)


def start_copy(w: World, cpu: int, page: int, _count: int, target: int) -> None:
    """Begin an instruction that loads a value from the page and stores it to another one (movs)."""
    w.steps[cpu].append((user_copy, page, target, 0))


Operation(
    number=31,
    name="copy",
    start=start_copy,
    summary="user load from a page and store to another one",
    pages="one",
    argument=DESTINATION,
    thread=Thread.USER,
    lock=Lock.READ,
    access=True,
    rank=5,
    weight=2,
    layouts=(),
    needs=(),
    shares=("content of two pages",),
    holds_page=False,
    simpler_as=("write",),
)


@step("access")
def user_access(w: World, cpu: int, s: Step) -> None:
    _, page, kind, tries = s
    machine = w.machine
    entry = machine.access(cpu, page, kind)
    if entry >= 0:
        at = entry >> _WORD_AT & _WORDS
        if kind == WRITE:
            w.stamp += 1
            machine.memory[at] = w.stamp
        w.op[cpu] = IDLE_OP
        w.observer.access(cpu, page, kind, entry >> INCARNATION_AT, machine.memory[at])
    elif tries == RETRIES:
        _give_up(w, cpu, page, kind)
    else:
        code = -entry
        _report_denied(w, cpu, page, kind, code)
        steps = w.steps[cpu]
        steps.append((user_access, page, kind, tries + 1))
        steps.append((fault_enter, page, kind, code))


@step("access, movs")
def user_copy(w: World, cpu: int, s: Step) -> None:
    """Make both accesses, or take a fault of one, after which the instruction begins again."""
    _, page, target, tries = s
    machine = w.machine
    source = machine.access(cpu, page, READ)
    entry = machine.access(cpu, target, WRITE) if source >= 0 else -1
    if source >= 0 and entry >= 0:
        value = machine.memory[source >> _WORD_AT & _WORDS]
        w.op[cpu] = IDLE_OP
        w.observer.access(cpu, page, READ, source >> INCARNATION_AT, value)
        machine.memory[entry >> _WORD_AT & _WORDS] = value
        w.observer.access(cpu, target, WRITE, entry >> INCARNATION_AT, value)
        return
    fault_page, kind, code = (page, READ, -source) if source < 0 else (target, WRITE, -entry)
    if tries == 2 * RETRIES:
        _give_up(w, cpu, fault_page, kind)
        return
    _report_denied(w, cpu, fault_page, kind, code)
    steps = w.steps[cpu]
    steps.append((user_copy, page, target, tries + 1))
    steps.append((fault_enter, fault_page, kind, code))


def _give_up(w: World, cpu: int, page: int, kind: int) -> None:
    """End the operation after the last of its tries."""
    w.op[cpu] = IDLE_OP
    w.observer.unhealed(cpu, page, kind)


def _report_denied(w: World, cpu: int, page: int, kind: int, code: int) -> None:
    """Report what the fault's code says about the translation that denied the access."""
    if code & PF_PK:
        w.observer.key_denied(cpu, page, kind)
    elif code & PF_INSTR and code & PF_PROT:
        w.observer.fetch_denied(cpu, page)
