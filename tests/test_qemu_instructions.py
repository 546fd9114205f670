"""The instructions that the comparison with QEMU's MMU executes, in which it can find a mistake."""

import inspect
from unittest.mock import Mock

from shootdown.conform.qemu.campaign import sequence_of
from shootdown.conform.qemu.events import ACCESS, STORE
from shootdown.conform.qemu.sides import MODES, on_machine
from shootdown.machine.caches import Caches
from shootdown.machine.plain import Plain
from shootdown.machine.x86 import Machine

BROADCASTS = {"invlpgb", "invlpgb_context", "invlpgb_nonglobals", "tlbsync"}
"""The instructions that QEMU does not have (conform.qemu.known)."""
NO_INSTRUCTIONS = {"access", "evict", "fill", "poison", "read_entry", "write_entry"}
METHODS = {
    name
    for part in (Caches, Machine)
    for name, member in vars(part).items()
    if inspect.isroutine(member) and name[0] != "_" and name not in vars(Plain)
}


def executed() -> set[str]:
    """Return the methods of the machine that random events of every setting call."""
    names: set[str] = set()
    for mode in MODES:
        for number in range(60):
            setting, events = sequence_of(2, number, mode)
            machine = Mock(pkru=[0] * setting.shape.cpus)
            for event in events:
                if event.kind not in (ACCESS, STORE):
                    on_machine(machine, event)
            names |= {name for name, *_ in machine.method_calls}
    return names


def test_every_instruction_is_compared() -> None:
    """An event executes each instruction of the machine that is not a broadcast, so a mistake in it can show."""
    assert executed() == METHODS - BROADCASTS - NO_INSTRUCTIONS
