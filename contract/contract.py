"""The contract between a program and the system calls: which outcome of an access the calls and the stores allow.

Membership as in docs/correctness.md: a call takes effect for each page at some instant between its begin and its
return, so while it is in flight an access may meet what was before it or what it makes; after its return the latter.
Nothing in here knows a page table, a TLB or a flush, and nothing of it is computed by the memory manager.
"""

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from shootdown.contract.calls import (
    DONTNEED,
    EXIT,
    FORK,
    FREE,
    NO_CHILD,
    PROTECT,
    PUNCH,
    RESOLVE,
    REVOKE,
    WRPKRU,
    Call,
)
from shootdown.contract.effects import Effects
from shootdown.contract.pages import NO, NO_REGISTER, YES
from shootdown.contract.regions import HOLE, KEY, POPULATED, REGISTERED, allowance, allows
from shootdown.machine.entry import WRITE
from shootdown.machine.geometry import PAGES

FINE: Final = ""
ACCESS_OUTSIDE: Final = "access-outside-region"
CONTENT: Final = "content-not-of-calls"
DENIED_INSIDE: Final = "denied-inside-region"
NOT_TRAPPED: Final = "write-not-trapped"
TRAPPED: Final = "trapped-unprotected"
FORK_FAILED: Final = "fork-without-need-to-fail"

_READERS: Final = frozenset({DONTNEED, FREE, PROTECT, RESOLVE, PUNCH, REVOKE, WRPKRU, EXIT})
"""Calls that change no region before they return."""

Steps = list[list[tuple[int, ...]]]
"""What each CPU has still to do: the contract looks only whether it is what it was."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Contract(Effects):
    """Follows the calls and judges accesses; each judgement is a reason, or FINE."""

    SHARED: ClassVar[frozenset[str]] = frozenset({"spare", "steps"})

    def __init__(
        self, steps: Steps, spaces: int, pages: int, known: "Contract | None" = None
    ) -> None:
        """Begin with no region and no call in flight; or go on from `known`.

        `steps` are those of the world's CPUs, the list itself; an address space has `pages`.
        """
        super().__init__(spaces, pages, known)
        self.steps = steps
        self.spaces = spaces
        # The call that has closed last, for the next one: to make a new one costs more than the rest.
        self.spare: Call | None = None
        # Calls in flight, by CPU.
        self.calls: dict[int, Call] = (
            {cpu: call.copy() for cpu, call in known.calls.items()} if known else {}
        )
        # CPUs, a bit each, whose call had not made a step when anybody looked last.
        self.waiting: int = known.waiting if known else 0
        # By epoch: calls that have returned and whose promises hold when the epoch has ended.
        self.postponed: dict[int, Call] = (
            {epoch: call.copy() for epoch, call in known.postponed.items()} if known else {}
        )
        self.sequence: int = known.sequence if known else 0
        # CPUs, a bit each, whose fault in flight is a denial that a region explained when the hardware raised it.
        self.explained: int = known.explained if known else 0
        # The address spaces that there are.
        self.living: set[int] = known.living.copy() if known else {0}

    def copy_for(self, steps: Steps) -> "Contract":
        """Return a contract that knows what this one does, of a copy of its world with these steps."""
        if type(self) is not Contract:
            other = self.copy()
            other.steps = steps
            return other
        return Contract(steps, self.spaces, self.pages, self)

    # Calls.

    def began(self, cpu: int, kind: int, mm: int, page: int, count: int, arg: int) -> None:
        """A call begins on the CPU: it has put its steps there, and made none."""
        if self.waiting:
            self.start_waiting()
        steps = self.steps[cpu]
        call = self.spare or Call()
        self.spare = None
        if kind == FORK:
            others = [other for other in self.calls.values() if other.kind == FORK]
            call.room = not others and len(self.living) < self.spaces
            for other in others:
                other.room = False
        self.calls[cpu] = call
        self.waiting |= 1 << cpu
        call.begin(cpu, kind, mm, page, count, arg, len(steps), steps[-1])

    def withdrawn(self, cpu: int) -> None:
        """The call that began last on the CPU, and has made no step, has not begun."""
        if cpu in self.calls:
            self._end(cpu)

    def _end(self, cpu: int) -> None:
        """Take the call from the CPU."""
        self.spare = self.calls.pop(cpu)
        self.waiting &= ~(1 << cpu)

    def start_waiting(self) -> None:
        """Start each call that has made a step since anybody looked: it has seen the regions as they are now.

        One that waits for its first lock has not. Of two that have both made steps meanwhile, the one that changes
        regions was first: it excludes others until it is done with that.
        """
        waiting = self.waiting
        if not waiting & waiting - 1:
            self._start_if_moved(waiting.bit_length() - 1)
            return
        cpus = [cpu for cpu in self.calls if waiting >> cpu & 1]
        for cpu in sorted(cpus, key=lambda cpu: self.calls[cpu].kind in _READERS):
            self._start_if_moved(cpu)

    def _start_if_moved(self, cpu: int) -> None:
        call = self.calls[cpu]
        steps = self.steps[cpu]
        # What lies above its first step is a context switch back from a kernel thread, which is no part of it.
        if len(steps) < call.depth or steps[call.depth - 1] is not call.top:
            self._start(cpu, call)

    def _start(self, cpu: int, call: Call) -> None:
        self.waiting &= ~(1 << cpu)
        self.sequence += 1
        call.sequence = self.sequence
        self._carry_out(call)

    def closed(self, cpu: int) -> str:
        """The operation on the CPU has returned, or its fault: what a call has promised holds.

        Return a reason if the call has failed that had no cause to.
        """
        if self.explained:
            self.explained &= ~(1 << cpu)
        call = self.calls.get(cpu)
        if call is None:
            return FINE
        kind = call.kind
        if (
            self.waiting == 1 << cpu
            and len(self.calls) == 1
            and not self.postponed
            and kind != FORK
        ):
            # Nobody has looked since it began.
            self._end(cpu)
            self.at_once = True
            self._carry_out(call)
            self.at_once = False
        else:
            self._started(cpu)
            self._end(cpu)
            self._settle(call)
            if kind == FORK and call.room and call.child == NO_CHILD:
                return FORK_FAILED
        if kind == EXIT:
            # Its number and its tables are free now.
            self.living.discard(call.child)
        return FINE

    def _started(self, cpu: int) -> Call:
        """Start what has made steps, the CPU's call in any case; return that."""
        if self.waiting:
            self.start_waiting()
        call = self.calls[cpu]
        if self.waiting >> cpu & 1:
            self._start(cpu, call)
        return call

    def postpone(self, cpu: int, epoch: int) -> None:
        """What the call on the CPU promises holds when the epoch has ended, not when it returns."""
        if cpu in self.calls:
            self.postponed[epoch] = self._started(cpu)
            del self.calls[cpu]

    def epoch_ended(self, epoch: int) -> None:
        """What was postponed to the end of the epoch holds from here on."""
        call = self.postponed.pop(epoch, None)
        if call is not None:
            self._settle(call)

    def forked(self, cpu: int, child: int) -> None:
        """The fork on the CPU returns the address space `child`: it has the parent's regions and a snapshot of each
        private page; nothing in it is registered with userfaultfd.
        """
        if cpu not in self.calls:
            return
        call = self._started(cpu)
        call.child = child
        self.living.add(child)
        parent = call.mm * PAGES
        regions = self.region[parent : parent + PAGES]
        registers = self.register[parent : parent + PAGES]
        for i, (page, _) in enumerate(call.parents):
            registers[page] = call.child_first + i
        unregistered = [region & ~(REGISTERED | POPULATED) for region in regions]
        self._set_pages(child * PAGES, unregistered, registers)

    def exited(self, mm: int) -> None:
        """The last thread of the address space has exited: nobody can make an access there any more."""
        first = mm * PAGES
        self._set_pages(first, [HOLE] * PAGES, [NO_REGISTER] * PAGES)
        for slot in range(first, first + PAGES):
            self.mark.pop(slot, None)
            self.older.pop(slot, None)
        for call in self.calls.values():
            if call.kind == EXIT and call.mm == mm:
                call.child = mm
        for thread in [thread for thread in self.pkru if thread[1] == mm]:
            del self.pkru[thread]

    # Judgements.

    def access(self, cpu: int, slot: int, kind: int, value: int) -> str:
        """Judge an access that succeeded, and follow it; `value` is the word that it has loaded or stored."""
        if self.waiting:
            self.start_waiting()
        if self.older and slot in self.older:
            return self._access_in_window(cpu, slot, kind, value)
        region = self.region[slot]
        if not region & kind or (
            region & KEY and not allows(region, kind, self._pkru_of(cpu, slot))
        ):
            return ACCESS_OUTSIDE
        if region & REGISTERED:
            if kind == WRITE and slot not in self.marking:
                if self.mark.get(slot, NO) == YES:
                    return NOT_TRAPPED
                self.mark.pop(slot, None)
            if not (self.calls or self.postponed or region & POPULATED):
                self._set_page(slot, region | POPULATED, self.register[slot])
        register = self.register[slot]
        if kind == WRITE:
            if self.unsettled:
                self.store(register, value)
            else:
                self.value[register] = value
        elif register not in self.unsettled:
            if self.value.get(register, 0) != value:
                return CONTENT
        elif not self.shows(register, value):
            return CONTENT
        else:
            self.loaded(register, value)
        return FINE

    def _access_in_window(self, cpu: int, slot: int, kind: int, value: int) -> str:
        """The same where a call in flight has replaced the region."""
        pkru = self._pkru_of(cpu, slot)
        met = {
            register
            for _, region, register in (
                (0, self.region[slot], self.register[slot]),
                *self.older[slot],
            )
            if allows(region, kind, pkru)
        }
        if not met:
            return ACCESS_OUTSIDE
        if kind == WRITE:
            for register in met:
                if len(met) == 1:
                    self.store(register, value)
                else:
                    self.store_perhaps(register, value)
            return FINE
        return FINE if any(self.shows(register, value) for register in met) else CONTENT

    def denied(self, cpu: int, slot: int, kind: int, reported: int) -> str:
        """Judge a fault that was delivered; `reported` is what the handler saw of the region (contract.regions)."""
        if self.waiting:
            self.start_waiting()
        region = self.region[slot]
        if not region & kind and allowance(region) == reported:
            return FINE
        pkru = self._pkru_of(cpu, slot)
        explained = self.explained >> cpu & 1
        for region in self._may_meet(slot):
            if allowance(region) == reported and (explained or not allows(region, kind, pkru)):
                return FINE
        return DENIED_INSIDE

    def hardware_denied(self, cpu: int, slot: int, kind: int) -> None:
        """The hardware denies an access for a reason that the fault handler takes for final, a protection key or the NX
        of a fetch: note whether the page may deny it.

        The handler may come to it when the call that has changed the region is over.
        """
        if self.waiting:
            self.start_waiting()
        if not self.region[slot] & kind:
            self.explained |= 1 << cpu
            return
        pkru = self._pkru_of(cpu, slot)
        for region in self._may_meet(slot):
            if not allows(region, kind, pkru):
                self.explained |= 1 << cpu

    def trapped(self, slot: int) -> str:
        """Judge a write that was reported to userfaultfd."""
        if self.waiting:
            self.start_waiting()
        if slot in self.older:
            regions = self._may_meet(slot)
            return FINE if any(region & REGISTERED for region in regions) else TRAPPED
        if not self.region[slot] & REGISTERED:
            return TRAPPED
        if slot not in self.marking:
            if self.mark.get(slot, NO) == NO:
                return TRAPPED
            if self.register[slot] not in self.unsettled:
                # A page that was let go may still be dropped, and its mark with it.
                self.mark[slot] = YES
        return FINE
