"""What the comparison with QEMU's MMU can find: the instructions that its events execute."""

import inspect
from unittest.mock import Mock

from shootdown.conform.qemu.campaign import sequence_of
from shootdown.conform.qemu.events import ACCESS, STORE
from shootdown.conform.qemu.sides import MODES, on_machine
from shootdown.machine.caches import Caches
from shootdown.machine.plain import Plain
from shootdown.machine.x86 import Machine

BROADCASTS = {"invlpgb", "invlpgb_context", "invlpgb_nonglobals", "tlbsync"}
"""What QEMU does not have (conform.qemu.known)."""
NO_INSTRUCTIONS = {"access", "evict", "fill", "poison", "read_entry", "write_entry"}
METHODS = {
    name
    for part in (Caches, Machine)
    for name, member in vars(part).items()
    if inspect.isroutine(member) and name[0] != "_" and name not in vars(Plain)
}


def executed() -> set[str]:
    """The methods of the machine that are called by random events of every setting."""
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
    """Each instruction of the machine that is no broadcast is executed by an event, so a mistake in it can show."""
    assert executed() == METHODS - BROADCASTS - NO_INSTRUCTIONS
