"""What the pages contain: a register for each private page, and for each page of the shared object, file and driver.

A register is written by stores, which take effect at once, and made zeros by calls, which take effect at some instant
between their begin and their return. So beside one value it may have several that a load may show:
while a call is in flight the old ones, zeros, and whatever is stored; after it zeros and what was stored meanwhile,
because a store may have gone to the page that the call has dropped.
What MADV_FREE has let go may become zeros at any time, until a store after it.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.machine.plain import Plain

SHARED: Final = 0
FILE: Final = 8
DRIVER: Final = 16
PRIVATE: Final = 24
"""The numbers of registers: of the shared object's pages, the file's, the driver's; from here on of private pages."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Unsettled(Plain):
    """A register that may show more than one value, or about which a call is in flight.

    `zeroing`: by the sequence number of each call that makes it zeros, what was stored since the call began.
    `freeing`: how many calls are letting it go; `dispensable`: one has.
    `children`: registers that a fork in flight takes as snapshots of this one.
    """

    def __init__(self, values: set[int]) -> None:
        self.values = values
        self.zeroing: dict[int, set[int]] = {}
        self.freeing = 0
        self.dispensable = False
        self.children: list[int] = []

    def is_quiet(self) -> bool:
        """Return whether no call about it is in flight."""
        return not (self.zeroing or self.freeing or self.children)


@mypyc_attr(allow_interpreted_subclasses=True)
class Contents(Plain):
    """The registers: `value` where there is one value, 0 if it is not there, and nothing in flight; else `unsettled`.

    `registers` is how many there are.
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
        """Return what a load may show; a set that nobody else has."""
        state = self.unsettled.get(register)
        return {self.value.get(register, 0)} if state is None else state.values.copy()

    def shows(self, register: int, value: int) -> bool:
        """Return whether a load may show the value."""
        state = self.unsettled.get(register)
        return self.value.get(register, 0) == value if state is None else value in state.values

    def open_register(self, register: int) -> Unsettled:
        """Return the register as an unsettled one."""
        state = self.unsettled.get(register)
        if state is None:
            state = self.unsettled[register] = Unsettled({self.value.get(register, 0)})
        return state

    def settle(self, register: int) -> None:
        """Keep the register as a single value again, if it is one."""
        state = self.unsettled[register]
        if len(state.values) == 1 and not state.dispensable and state.is_quiet():
            (self.value[register],) = state.values
            del self.unsettled[register]

    def loaded(self, register: int, value: int) -> None:
        """A load has shown one of several values, and no other mapping of the page was about to change.

        Zeros do not tell that a page that was let go is gone: they may have been stored to it.
        """
        state = self.unsettled[register]
        if state.is_quiet() and not (state.dispensable and value):
            state.values = {value}
            self.settle(register)

    def store(self, register: int, value: int) -> None:
        """A store reaches the register, or what a call in flight is about to drop of it."""
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
        """A store reaches this register or another one."""
        state = self.open_register(register)
        state.values.add(value)
        for since in state.zeroing.values():
            since.add(value)
        for child in state.children:
            self.store_perhaps(child, value)

    def begin_zeroing(self, register: int, sequence: int) -> None:
        """A call begins to make zeros of it, and perhaps of what a fork in flight has yet to take."""
        state = self.open_register(register)
        state.values.add(0)
        state.zeroing[sequence] = set()
        for child in state.children:
            self.store_perhaps(child, 0)

    def end_zeroing(self, register: int, sequence: int, *, promised: bool) -> None:
        """The call has closed; if it has `promised` so, nothing older is left."""
        state = self.unsettled[register]
        since = state.zeroing.pop(sequence)
        if promised:
            state.values = {0} | since
            state.dispensable = state.dispensable and state.freeing > 0
        self.settle(register)

    def begin_free(self, register: int) -> None:
        """A call begins to let it go, and perhaps what a fork in flight has yet to take."""
        state = self.open_register(register)
        state.values.add(0)
        state.freeing += 1
        for child in state.children:
            snapshot = self.open_register(child)
            snapshot.values.add(0)
            snapshot.dispensable = True

    def end_free(self, register: int) -> None:
        """The call has closed; what was stored before may go at any time."""
        state = self.unsettled[register]
        state.freeing -= 1
        state.dispensable = True

    def begin_snapshot(self, register: int) -> None:
        """A new register, the one after all others, takes what this one contains, at some instant from here on."""
        child = self.new_register()
        state = self.open_register(register)
        state.children.append(child)
        copy = self.unsettled[child] = Unsettled(state.values.copy())
        # A page that was let go is let go in the child as well.
        copy.dispensable = state.dispensable or state.freeing > 0
        self.settle(child)

    def end_snapshot(self, register: int, child: int) -> None:
        """The snapshot is taken."""
        self.unsettled[register].children.remove(child)
        self.settle(register)
