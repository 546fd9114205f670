"""The contract between a program and the system calls: the outcomes of an access that the calls and the stores allow.

Membership is as in docs/correctness.md: a call takes effect for each page at some instant between its begin and its
return. So while it is in flight an access may meet the state before or after it, and after its return only the latter.
Nothing in this module knows a page table, a TLB or a flush, and the memory manager computes nothing of it.
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
"""The calls that change no region before they return."""

Steps = list[list[tuple[int, ...]]]
"""The pending steps of each CPU; the contract only checks whether they have changed."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Contract(Effects):
    """The contract, which follows the calls and judges accesses; each judgement is a reason, or FINE."""

    SHARED: ClassVar[frozenset[str]] = frozenset({"spare", "steps"})

    def __init__(
        self, steps: Steps, spaces: int, pages: int, known: "Contract | None" = None
    ) -> None:
        """Begin with no region and no call in flight, or continue from `known`.

        `steps`: the steps of the world's CPUs, the list itself.
        `pages`: the number of pages of an address space.
        """
        super().__init__(spaces, pages, known)
        self.steps = steps
        self.spaces = spaces
        # The call that has closed last, for reuse: a new one costs more than the rest of `began`.
        self.spare: Call | None = None
        # The calls in flight, by CPU.
        self.calls: dict[int, Call] = (
            {cpu: call.copy() for cpu, call in known.calls.items()} if known else {}
        )
        # The CPUs, one bit each, whose call had made no step at the last check.
        self.waiting: int = known.waiting if known else 0
        # By epoch: the calls that have returned, and whose promises hold when the epoch has ended.
        self.postponed: dict[int, Call] = (
            {epoch: call.copy() for epoch, call in known.postponed.items()} if known else {}
        )
        self.sequence: int = known.sequence if known else 0
        # The CPUs, one bit each, whose fault in flight is a denial that a region explained when the hardware raised it.
        self.explained: int = known.explained if known else 0
        # The living address spaces.
        self.living: set[int] = known.living.copy() if known else {0}

    def copy_for(self, steps: Steps) -> "Contract":
        """Return a contract in the same state as this one, for a copy of its world with these steps."""
        if type(self) is not Contract:
            other = self.copy()
            other.steps = steps
            return other
        return Contract(steps, self.spaces, self.pages, self)

    # Calls.

    def began(self, cpu: int, kind: int, mm: int, page: int, count: int, arg: int) -> None:
        """Begin a call on the CPU: it has pushed its steps there, and made none."""
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
        """Forget the call that began last on the CPU and has made no step."""
        if cpu in self.calls:
            self._end(cpu)

    def _end(self, cpu: int) -> None:
        """Take the call from the CPU."""
        self.spare = self.calls.pop(cpu)
        self.waiting &= ~(1 << cpu)

    def start_waiting(self) -> None:
        """Start each call that has made a step since the last check: it has seen the regions as they are now.

        A call that waits for its first lock has not. If two calls have both made steps meanwhile, the one that changes
        regions was first: it excludes others until it has changed them.
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
        # A step before its first one is a context switch back from a kernel thread, which is not part of the call.
        if len(steps) < call.depth or steps[call.depth - 1] is not call.top:
            self._start(cpu, call)

    def _start(self, cpu: int, call: Call) -> None:
        self.waiting &= ~(1 << cpu)
        self.sequence += 1
        call.sequence = self.sequence
        self._carry_out(call)

    def closed(self, cpu: int) -> str:
        """Close the operation on the CPU, or its fault, which has returned: the promises of its call hold.

        Return a reason if the call has failed without cause, else FINE.
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
            # No access was checked since the call began.
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
            # The number and the tables of the space are free now.
            self.living.discard(call.child)
        return FINE

    def _started(self, cpu: int) -> Call:
        """Start the calls that have made steps, and the CPU's call in any case; return the latter."""
        if self.waiting:
            self.start_waiting()
        call = self.calls[cpu]
        if self.waiting >> cpu & 1:
            self._start(cpu, call)
        return call

    def postpone(self, cpu: int, epoch: int) -> None:
        """Postpone the promises of the CPU's call: they hold when the epoch has ended, not when the call returns."""
        if cpu in self.calls:
            self.postponed[epoch] = self._started(cpu)
            del self.calls[cpu]

    def epoch_ended(self, epoch: int) -> None:
        """Make the promises hold that were postponed to the end of the epoch."""
        call = self.postponed.pop(epoch, None)
        if call is not None:
            self._settle(call)

    def forked(self, cpu: int, child: int) -> None:
        """Create the address space `child`, which the fork on the CPU returns.

        It has the parent's regions and a snapshot of each private page; nothing in it is registered with userfaultfd.
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
        """Remove the address space, whose last thread has exited: no access is possible there any more."""
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
        """Judge an access that has succeeded, and adopt it.

        `value`: the word that it has loaded or stored.
        """
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
        """Judge an access as `access` does, while a call in flight has replaced the region."""
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
        """Judge a fault that was delivered.

        `reported`: the rights and the key that the handler has found in the region (contract.regions).
        """
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
        """Record whether the page may deny an access that the hardware denies because of a protection key or of NX.

        The fault handler takes these reasons for final, and may run when the call that changed the region is over.
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
                # A page that was given up may still be dropped, with its mark.
                self.mark[slot] = YES
        return FINE
