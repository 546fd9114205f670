"""The contents of the pages: a register for each private page, and for each page of the shared object, file and driver.

Stores write a register, and take effect at once; calls set it to zero, and take effect at some instant between their
begin and their return. So a register may have several values that a load may show: while a call is in flight, the old
ones, zeros, and every stored value; after it, zeros and the values that were stored meanwhile, because a store may have
gone to the page that the call has dropped.
A register that MADV_FREE has given up may become zeros at any time, until a later store.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.machine.plain import Plain

SHARED: Final = 0
FILE: Final = 8
DRIVER: Final = 16
PRIVATE: Final = 24
"""The first registers of the shared object's pages, the file's, the driver's, and the private pages."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Unsettled(Plain):
    """A register that may show more than one value, or about which a call is in flight.

    `values`: the values that a load may show.
    `zeroing`: the values that were stored since a call that sets it to zero began, by the call's sequence number.
    `freeing`: the number of calls in flight that give it up.
    `dispensable`: whether a call has given it up.
    `children`: the registers that a fork in flight takes as snapshots of this one.
    """

    def __init__(self, values: set[int]) -> None:
        self.values = values
        self.zeroing: dict[int, set[int]] = {}
        self.freeing = 0
        self.dispensable = False
        self.children: list[int] = []

    def is_quiet(self) -> bool:
        """Return whether no call that concerns it is in flight."""
        return not (self.zeroing or self.freeing or self.children)


@mypyc_attr(allow_interpreted_subclasses=True)
class Contents(Plain):
    """The registers.

    `registers`: their number.
    `value`: the value of a register with one value and no call in flight, 0 if it is missing.
    `unsettled`: all other registers.
    """

    def __init__(self, known: "Contents | None" = None) -> None:
        self.registers: int = known.registers if known else PRIVATE
        self.value: dict[int, int] = known.value.copy() if known else {}
        self.unsettled: dict[int, Unsettled] = (
            {n: one.copy() for n, one in known.unsettled.items()} if known else {}
        )

    def new_register(self) -> int:
        """Return a new private register of zeros."""
        self.registers += 1
        return self.registers - 1

    def values_of(self, register: int) -> set[int]:
        """Return the values that a load may show, in a new set."""
        state = self.unsettled.get(register)
        return {self.value.get(register, 0)} if state is None else state.values.copy()

    def shows(self, register: int, value: int) -> bool:
        """Return whether a load may show the value."""
        state = self.unsettled.get(register)
        return self.value.get(register, 0) == value if state is None else value in state.values

    def open_register(self, register: int) -> Unsettled:
        """Return the register as an unsettled one, and make it one if it is not."""
        state = self.unsettled.get(register)
        if state is None:
            state = self.unsettled[register] = Unsettled({self.value.get(register, 0)})
        return state

    def settle(self, register: int) -> None:
        """Turn the register into a single value again, if it has one value and no call in flight."""
        state = self.unsettled[register]
        if len(state.values) == 1 and not state.dispensable and state.is_quiet():
            (self.value[register],) = state.values
            del self.unsettled[register]

    def loaded(self, register: int, value: int) -> None:
        """Keep only the value that a load has shown, when no other mapping of the page was about to change.

        Zeros do not prove that a page that was given up is gone: a program may have stored them.
        """
        state = self.unsettled[register]
        if state.is_quiet() and not (state.dispensable and value):
            state.values = {value}
            self.settle(register)

    def store(self, register: int, value: int) -> None:
        """Adopt a store to the register, or to the content that a call in flight is about to drop."""
        state = self.unsettled.get(register)
        if state is None:
            self.value[register] = value
            return
        if state.zeroing:
            state.values.add(value)
            for since in state.zeroing.values():
                since.add(value)
        else:
            state.values = {value, 0} if state.freeing else {value}
            state.dispensable = state.freeing > 0
        for child in state.children:
            self.store_perhaps(child, value)
        self.settle(register)

    def store_perhaps(self, register: int, value: int) -> None:
        """Adopt a store that reaches this register or another one."""
        state = self.open_register(register)
        state.values.add(value)
        for since in state.zeroing.values():
            since.add(value)
        for child in state.children:
            self.store_perhaps(child, value)

    def begin_zeroing(self, register: int, sequence: int) -> None:
        """Begin a call that sets it to zero, and perhaps the snapshots that a fork in flight has yet to take."""
        state = self.open_register(register)
        state.values.add(0)
        state.zeroing[sequence] = set()
        for child in state.children:
            self.store_perhaps(child, 0)

    def end_zeroing(self, register: int, sequence: int, *, promised: bool) -> None:
        """End the call; if it has `promised` zeros, no older value is left."""
        state = self.unsettled[register]
        since = state.zeroing.pop(sequence)
        if promised:
            state.values = {0} | since
            state.dispensable = state.dispensable and state.freeing > 0
        self.settle(register)

    def begin_free(self, register: int) -> None:
        """Begin a call that gives it up, and perhaps the snapshots that a fork in flight has yet to take."""
        state = self.open_register(register)
        state.values.add(0)
        state.freeing += 1
        for child in state.children:
            snapshot = self.open_register(child)
            snapshot.values.add(0)
            snapshot.dispensable = True

    def end_free(self, register: int) -> None:
        """End the call; older stores may disappear at any time."""
        state = self.unsettled[register]
        state.freeing -= 1
        state.dispensable = True

    def begin_snapshot(self, register: int) -> None:
        """Begin a snapshot: a new register, the last one, takes the content of this one at some later instant."""
        child = self.new_register()
        state = self.open_register(register)
        state.children.append(child)
        copy = self.unsettled[child] = Unsettled(state.values.copy())
        # A page that was given up is given up in the child as well.
        copy.dispensable = state.dispensable or state.freeing > 0
        self.settle(child)

    def end_snapshot(self, register: int, child: int) -> None:
        """End the snapshot, which is taken."""
        self.unsettled[register].children.remove(child)
        self.settle(register)
