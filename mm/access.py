"""User read, write and instruction fetch: one step when the hardware translates, the page-fault handler when not."""

from machine.entry import WRITE
from mm.fault import fault_enter
from mm.operation import IDLE_OP
from mm.step import Step, push, step
from mm.world import World

RETRIES = 16
"""Faults of one access after which the handler is said not to heal it.

x86 needs one spurious fault per address at most (SDM 4.10.4.3); the rest is room for other CPUs that change the page
again between two tries.
"""


def start_access(w: World, cpu: int, page: int, kind: int) -> None:
    """Begin a user access of `kind` by the CPU's thread."""
    push(w, cpu, (user_access, page, kind, 0))


@step("access")
def user_access(w: World, cpu: int, s: Step) -> None:
    _, page, kind, tries = s
    machine = w.machine
    entry = machine.access(cpu, page, kind)
    if entry >= 0:
        at = (entry >> 6) & 0xFC
        if kind == WRITE:
            w.stamp += 1
            machine.memory[at] = w.stamp
        w.op[cpu] = IDLE_OP
        w.observer.access(cpu, page, kind, entry >> 8, machine.memory[at])
    elif tries == RETRIES:
        w.op[cpu] = IDLE_OP
        w.observer.unhealed(cpu, page, kind)
    else:
        push(w, cpu, (fault_enter, page, kind, -entry), (user_access, page, kind, tries + 1))
