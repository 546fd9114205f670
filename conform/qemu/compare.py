"""One sequence of events on the machine and on QEMU's MMU, event by event, until they differ.

EXACT: the sequence has one outcome. The machine is made like QEMU: AMD's walk before a fault, no upper cache, leaves of
2 MiB in pieces, WRPKRU and INVLPG of such a leaf that drop everything; there are global entries only where everything
has one PCID. Each access must have that outcome, so this mode also finds what the machine wrongly allows.

MAY_DROP: any entry may have been dropped at any time, as on every processor (SDM vol. 3A 4.10.2.3), and QEMU drops more
than the machine, which drops nothing by itself. The comparison keeps all states of the caches that fit what was seen;
each stands for itself and for what is left when some of its entries are dropped. So an access is tried from each state,
with each subset of the entries that it can meet dropped first. A state that shows the same as QEMU is kept. If no state
is left, the two disagree.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from shootdown.conform.qemu.events import ACCESS, STORE, Event
from shootdown.conform.qemu.may_drop import MayDrop
from shootdown.conform.qemu.sides import EXACT, STRAY, Exact, Setting
from shootdown.machine.geometry import FANOUT, FRAMES
from shootdown.machine.qemu.processors import Processors
from shootdown.machine.x86 import Machine
from shootdown.scenario.switches import keywords_of


class Difference(NamedTuple):
    """The first event for which QEMU's MMU shows something else: its position, and what each shows."""

    at: int
    what: str
    machine: str
    qemu: str


class Compared(NamedTuple):
    """How many events and accesses agreed, how many of them QEMU's known deviations explain, and what differed."""

    events: int
    accesses: int
    explained: Counter[str]
    difference: Difference | None


def compare(
    events: Sequence[Event], setting: Setting, machine_type: type[Machine] = Machine
) -> Compared:
    """Run events on both sides up to the first difference.

    Errors: MmuError.
    """
    machine = machine_type(setting.shape.cpus, **keywords_of(setting.machine))
    machine.memory = [0] * (FRAMES * FANOUT)
    qemu = Processors(setting.shape.cpus)
    try:
        mode = Exact if setting.mode == EXACT else MayDrop
        side = mode(machine, qemu, setting)
        accesses = 0
        for at, event in enumerate(events):
            if event.kind == STORE:
                side.store(event)
                continue
            accesses += event.kind == ACCESS
            found = side.apply(event)
            if found is not None:
                return Compared(at, accesses, side.explained, Difference(at, *found))
        if not qemu.is_clean():
            last = len(events) - 1
            stray = Difference(last, STRAY, "the walk's entries alone", "another word")
            return Compared(last, accesses, side.explained, stray)
        return Compared(len(events), accesses, side.explained, None)
    finally:
        qemu.close()
