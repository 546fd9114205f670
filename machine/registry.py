"""The processors that a scenario can run on, by name."""

from typing import Final

from shootdown.machine.x86 import Machine

MODEL: Final = "model"
QEMU: Final = "qemu"
MACHINES: Final = (MODEL, QEMU)
DEFAULT_MACHINE: Final = MODEL


def machine_named(name: str) -> type[Machine]:
    """Return the machine of a name of MACHINES.

    Error: Unusable, when it is QEMU's MMU and there is none here.
    """
    if name == MODEL:
        return Machine
    # Imported late: who runs on the model need not have unicorn, nor wait for it.
    from shootdown.machine.qemu.machine import QemuMachine  # noqa: PLC0415 - see above
    from shootdown.machine.qemu.mmu import load_unicorn  # noqa: PLC0415 - see above

    load_unicorn()
    return QemuMachine
