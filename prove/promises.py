"""The contract as part of the key of a world: the regions that the calls have made, and what is in flight."""

from shootdown.contract.calls import Call
from shootdown.contract.contract import Contract
from shootdown.machine.geometry import PAGES
from shootdown.mm.world import World
from shootdown.prove.sparse import Sparse

_OLDER, _CALL, _POSTPONED, _UNSETTLED, _OVERLAPPED, _PKRU = range(-206, -200)
"""Marks that no other part of a key uses."""


class Promises:
    """Writes a contract to `out`, in the names that a walk over its world has given.

    The walk knows the CPU at which it began, and the place of everything that is postponed to the end of an epoch.
    Registers get their own names, in the order in which they are met.
    """

    __slots__ = (
        "contract",
        "cpus",
        "epochs",
        "first",
        "known",
        "names",
        "out",
        "registers",
        "sequences",
    )

    def __init__(self, contract: Contract, walk: Sparse, cpus: int) -> None:
        self.contract = contract
        self.names = walk
        self.out = walk.out
        self.epochs = walk.epochs
        self.first = walk.first
        self.cpus = cpus
        self.known: dict[int, int] = {}
        self.registers: list[int] = []
        # For the sequence number of a call: its name in the key.
        self.sequences: dict[int, int] = {}

    def write(self, w: World) -> None:
        """Write all of it."""
        contract, out = self.contract, self.out
        in_flight: list[tuple[int, Call]] = []
        if contract.calls:
            for distance in range(self.cpus):
                call = contract.calls.get((self.first + distance) % self.cpus)
                if call is not None:
                    in_flight.append((distance, call))
                    self.sequences[call.sequence] = distance
        for epoch, held in contract.postponed.items():
            self.sequences[held.sequence] = self.cpus + self.epochs[epoch]
        for mm, root in enumerate(w.root):
            if root < 0:
                continue
            for slot in range(mm * PAGES, mm * PAGES + w.pages):
                out.append(contract.region[slot] << 2 | contract.mark.get(slot, 0))
                out.append(self.register(contract.register[slot]))
        for slot in sorted(contract.older):
            out += (_OLDER, slot)
            for sequence, region, register in contract.older[slot]:
                out += (self.sequences[sequence], region, self.register(register))
        for distance, call in in_flight:
            out += (_CALL, distance, call.kind << 1 | call.room, call.mm, call.child)
            self._call(call)
        for held in sorted(contract.postponed.values(), key=self._order):
            out.append(_POSTPONED)
            self._call(held)
        if contract.pkru:
            out.append(_PKRU)
            for distance in range(self.cpus):
                cpu = (self.first + distance) % self.cpus
                out += [contract.pkru.get((cpu, mm), 0) for mm in range(contract.spaces)]
        if contract.overlapped:
            out += (_OVERLAPPED, *sorted(contract.overlapped))
        self._contents()

    def _order(self, call: Call) -> int:
        return self.sequences[call.sequence]

    def register(self, register: int) -> int:
        """Return the name of a register; -1 for none."""
        if register < 0:
            return -1
        name = self.known.get(register, -1)
        if name < 0:
            name = len(self.registers) if self.names.names else register
            self.known[register] = name
            self.registers.append(register)
        return name

    def _call(self, call: Call) -> None:
        out = self.out
        out += (len(call.zeroed), len(call.free), len(call.marks), len(call.parents))
        for register, promised in call.zeroed:
            out.append(self.register(register) << 1 | promised)
        for register in call.free:
            out.append(self.register(register))
        for slot, mark in call.marks:
            out.append(slot << 2 | mark)
        for i, (page, register) in enumerate(call.parents):
            out += (page, self.register(register), self.register(call.child_first + i))

    def _contents(self) -> None:
        """Write what each register that was met may show; each may lead to further names."""
        out, names, contract = self.out, self.names, self.contract
        unsettled = contract.unsettled
        for register in self.registers:
            state = unsettled.get(register)
            if state is None:
                out.append(names.value(contract.value.get(register, 0)))
                continue
            out += (_UNSETTLED, state.freeing << 1 | state.dispensable, len(state.values))
            out += self._values(state.values)
            out.append(len(state.zeroing))
            for sequence, since in sorted(
                (self.sequences[number], since) for number, since in state.zeroing.items()
            ):
                out += (sequence, len(since))
                out += self._values(since)
            for child in state.children:
                out.append(self.register(child))
            out.append(-1)

    def _values(self, values: set[int]) -> list[int]:
        """Return the names of a set of values, the lowest first; values without a name get one in the order of their
        age.
        """
        known = self.names.values
        named = sorted(known[value] for value in values if value in known)
        return named + [self.names.value(value) for value in sorted(values) if value not in known]
