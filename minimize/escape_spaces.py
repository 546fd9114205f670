"""Ways out of a minimum that comes back to an address space in another way than a simpler one."""

from shootdown.minimize.reducer import Reducer
from shootdown.minimize.rewrite import ARG, KIND, revised
from shootdown.scenario import Scenario, kinds


def undo_switches(reducer: Reducer) -> None:
    """For each switch, has tried to do without it, with the first two address spaces exchanged behind it; with the
    identifiers that there are, and with two and no broadcasts.

    A global ASID keeps what a CPU has cached of a space that it leaves, and so does a second identifier.
    """
    header, records = reducer.best
    plain = header._replace(machine=header.machine & ~kinds.INVLPGB, asids=2)
    for at, record in enumerate(records):
        if record[KIND] == kinds.SWITCH:
            behind = [
                revised(other, arg=1 - other[ARG])
                if other[KIND] == kinds.SWITCH and other[ARG] < 2
                else other
                for other in records[at + 1 :]
            ]
            rest = (*records[:at], *behind)
            if any(reducer.consider(Scenario(head, rest)) for head in (header, plain)):
                return
