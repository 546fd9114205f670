"""The processors that a scenario can run on, by name."""

from collections.abc import Callable
from typing import Final

from shootdown.machine.x86 import Machine

DEFAULT_MACHINE: Final = "model"


def _qemu() -> type[Machine]:
    # Imported late: a run on the model needs no unicorn, and does not wait for its import.
    from shootdown.machine.qemu.machine import QemuMachine  # noqa: PLC0415 - see above
    from shootdown.machine.qemu.mmu import load_unicorn  # noqa: PLC0415 - see above

    load_unicorn()
    return QemuMachine


_MACHINES: Final[dict[str, Callable[[], type[Machine]]]] = {
    DEFAULT_MACHINE: lambda: Machine,
    "qemu": _qemu,
}
MACHINES: Final = tuple(_MACHINES)


def machine_named(name: str) -> type[Machine]:
    """Return the machine for a name of MACHINES.

    Errors: Unusable, when it is QEMU's MMU and unicorn is missing.
    """
    return _MACHINES[name]()
