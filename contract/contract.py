"""The contract between a program and the system calls: which outcome of an access the calls and the stores allow.

Membership as in docs/correctness.md: a call takes effect for each page at some instant between its begin and its
return, so while it is in flight an access may meet what was before it or what it makes; after its return the latter.
What a call makes of a page follows from its arguments and the regions at the call.
Nothing in here knows a page table, a TLB or a flush, and nothing of it is computed by the memory manager.

Facts about Linux: which part of a range a call changes is that of Linux 7.3 (mm/madvise.c madvise_walk_vmas,
mm/userfaultfd.c mwriteprotect_range and userfaultfd_register, mm/mremap.c remap_move, mm/mprotect.c do_mprotect_pkey).
"""

from typing import Final

from mypy_extensions import mypyc_attr

from contract.calls import (
    DONTNEED,
    EXIT,
    FORK,
    FREE,
    MMAP,
    MPROTECT,
    MREMAP,
    MUNMAP,
    NO_CALL,
    NO_CHILD,
    PKEY_MPROTECT,
    PROTECT,
    PUNCH,
    REGISTER,
    RESOLVE,
    REVOKE,
    WRPKRU,
    Call,
)
from contract.contents import DRIVER, FILE, PRIVATE, SHARED, Contents
from contract.regions import (
    ANY_KIND,
    HOLE,
    HUGE,
    KEY,
    KEY_AT,
    NO_ACCESS,
    NO_WRITE,
    POPULATED,
    REGISTERED,
    Older,
    allowance,
    allows,
    region_of,
)
from machine.entry import WRITE
from machine.geometry import PAGES

NO_REGISTER: Final = -1
NO: Final = 0
YES: Final = 1
PERHAPS: Final = 2
"""Whether a page is write-protected for userfaultfd."""

MAP_KIND_AT: Final = 3
MAP_SHARED: Final = 1
MAP_HUGE: Final = 2
MAP_FILE: Final = 3
MAP_PFNMAP: Final = 4
"""The type of a mapping, in the argument of mmap above the rights."""
_FIRST: Final = {MAP_SHARED: SHARED, MAP_FILE: FILE, MAP_PFNMAP: DRIVER}

FINE: Final = ""
ACCESS_OUTSIDE: Final = "access-outside-region"
CONTENT: Final = "content-not-of-calls"
DENIED_INSIDE: Final = "denied-inside-region"
NOT_TRAPPED: Final = "write-not-trapped"
TRAPPED: Final = "trapped-unprotected"
FORK_FAILED: Final = "fork-without-need-to-fail"

Steps = list[list[tuple[int, ...]]]
"""What each CPU has still to do: the contract looks only whether it is what it was."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Contract(Contents):
    """Follows the calls and judges accesses; each judgement is a reason, or FINE.

    A slot is an address space and a page, `mm * PAGES + page`.
    `region` and `register` are the newest of each slot, `older` the ones that an access may still meet, `mark` whether
    the page is write-protected for userfaultfd, and `marking` how many calls in flight are about to change that.
    """

    __slots__ = (
        "at_once",
        "calls",
        "explained",
        "in_flight",
        "living",
        "mark",
        "marking",
        "older",
        "overlapped",
        "pages",
        "pkru",
        "postponed",
        "region",
        "register",
        "sequence",
        "spaces",
        "spare",
        "steps",
        "waiting",
    )

    def __init__(
        self, steps: Steps, spaces: int, pages: int, known: "Contract | None" = None
    ) -> None:
        """Begin with no region and no call in flight; or with all that another contract knows.

        `steps` are those of the world's CPUs, the list itself; an address space has `pages`.
        """
        super().__init__()
        self.steps = steps
        self.spaces = spaces
        self.pages = pages
        if known is not None:
            self._copy(known)
            return
        self.region: list[int] = [HOLE] * (spaces * PAGES)
        self.register: list[int] = [NO_REGISTER] * (spaces * PAGES)
        self.mark: list[int] = [NO] * (spaces * PAGES)
        self.older: dict[int, list[Older]] = {}
        self.marking: dict[int, int] = {}
        # Slots of `marking` that more than one call in flight is about to change.
        self.overlapped: set[int] = set()
        self.calls = [Call() for _ in steps]
        # Carries the next call of the CPU whose call has closed last; a new one for each call costs more than the rest.
        self.spare = Call()
        self.at_once = False
        self.in_flight = 0
        # CPUs, a bit each, whose call had not made a step when anybody looked last.
        self.waiting = 0
        # By epoch: calls that have returned and whose promises hold when the epoch has ended.
        self.postponed: dict[int, Call] = {}
        self.sequence = 0
        # CPUs, a bit each, whose fault in flight is a denial that a region explained when the hardware raised it.
        self.explained = 0
        # The address spaces that there are, and the PKRU of each thread that has written it, by CPU and address space.
        self.living = {0}
        self.pkru: dict[tuple[int, int], int] = {}

    def _copy(self, known: "Contract") -> None:
        self.copy_contents(known)
        self.region = known.region.copy()
        self.register = known.register.copy()
        self.mark = known.mark.copy()
        self.older = {slot: older.copy() for slot, older in known.older.items()}
        self.marking = known.marking.copy()
        self.overlapped = known.overlapped.copy()
        self.calls = [call.copy() for call in known.calls]
        self.spare = Call()
        self.at_once = False
        self.in_flight = known.in_flight
        self.waiting = known.waiting
        self.postponed = {epoch: call.copy() for epoch, call in known.postponed.items()}
        self.sequence = known.sequence
        self.explained = known.explained
        self.living = known.living.copy()
        self.pkru = known.pkru.copy()

    # Calls.

    def map_at_boot(self, mm: int, page: int, prot: int, kind: int) -> None:
        """The page was mapped before the run began."""
        slot = mm * PAGES + page
        self.region[slot], self.register[slot] = self._mapping(page, prot, kind)

    def began(self, cpu: int, kind: int, mm: int, page: int, count: int, arg: int) -> None:
        """A call begins on the CPU: it has put its steps there, and made none."""
        if self.waiting:
            self.start_waiting()
        steps = self.steps[cpu]
        self.calls[cpu].begin(cpu, kind, mm, page, count, arg, len(steps), steps[-1])
        self.in_flight += 1
        self.waiting |= 1 << cpu

    def withdrawn(self, cpu: int) -> None:
        """The call that began last on the CPU, and has made no step, has not begun."""
        if self.calls[cpu].kind:
            self._end(cpu)

    def _end(self, cpu: int) -> Call:
        """Take the call from the CPU and return it."""
        call = self.calls[cpu]
        self.waiting &= ~(1 << cpu)
        self.in_flight -= 1
        self.calls[cpu] = self.spare
        self.spare = call
        return call

    def start_waiting(self) -> None:
        """Start each call that has made a step since anybody looked: it has seen the regions as they are now.

        One that waits for its first lock has not. Of two that have both made steps meanwhile, the one that changes
        regions was first: it excludes others until it is done with that.
        """
        waiting = self.waiting
        if not waiting & waiting - 1:
            self._start_if_moved(waiting.bit_length() - 1)
            return
        cpus = [cpu for cpu in range(len(self.calls)) if waiting >> cpu & 1]
        for cpu in sorted(cpus, key=lambda cpu: self.calls[cpu].kind in _READERS):
            self._start_if_moved(cpu)

    def _start_if_moved(self, cpu: int) -> None:
        call = self.calls[cpu]
        steps = self.steps[cpu]
        if len(steps) != call.depth or steps[-1] is not call.top:
            self._start(cpu, call)

    def _start(self, cpu: int, call: Call) -> None:
        call.waits = False
        self.waiting &= ~(1 << cpu)
        self.sequence += 1
        call.sequence = self.sequence
        self._carry_out(call)

    def _carry_out(self, call: Call) -> None:
        """Note what the call may show from here on; what nobody can meet meanwhile, because it has been carried out
        `at_once`, takes effect at once.
        """
        kind = call.kind
        first = call.mm * PAGES + call.page
        slots = range(first, first + call.count)
        if kind in (MPROTECT, PKEY_MPROTECT):
            self._mprotect(call, slots)
        elif kind == MUNMAP:
            for slot in slots:
                if self.region[slot]:
                    self._replace(call, slot, HOLE, NO_REGISTER)
        elif kind == MMAP:
            self._mmap(call, slots)
        elif kind == MREMAP:
            self._mremap(call, first)
        elif kind in (DONTNEED, FREE):
            self._madvise(call, slots)
        elif kind == FORK:
            self._fork(call)
        elif kind == REGISTER:
            self._register(call, slots)
        elif kind in (PROTECT, RESOLVE):
            self._write_protect(call, slots)
        elif kind == PUNCH:
            self._zero(call, FILE + call.page, promised=True)
        elif kind == REVOKE:
            for place in range(call.page, call.page + call.count):
                self._zero(call, DRIVER + place, promised=True)
        elif kind == WRPKRU:
            self._wrpkru(call)

    def closed(self, cpu: int) -> str:
        """The operation on the CPU has returned, or its fault: what a call has promised holds.

        Return a reason if the call has failed that had no cause to.
        """
        self.explained &= ~(1 << cpu)
        if not self.in_flight:
            return FINE
        call = self.calls[cpu]
        if not call.kind:
            return FINE
        if self.in_flight == 1 and call.waits and call.kind != FORK:
            # Nobody has looked since it began.
            self._end(cpu)
            self.at_once = True
            self._carry_out(call)
            self.at_once = False
        else:
            self._started(cpu)
            self._end(cpu)
            self._settle(call)
        failed = call.kind == FORK and call.child == NO_CHILD
        if call.kind == EXIT:
            # Its number and its tables are free now.
            self.living.discard(call.child)
        call.kind = NO_CALL
        return FORK_FAILED if failed and len(self.living) < self.spaces else FINE

    def _started(self, cpu: int) -> Call:
        """Start what has made steps, the CPU's call in any case; return that."""
        if self.waiting:
            self.start_waiting()
        call = self.calls[cpu]
        if call.waits:
            self._start(cpu, call)
        return call

    def postpone(self, cpu: int, epoch: int) -> None:
        """What the call on the CPU promises holds when the epoch has ended, not when it returns."""
        if self.calls[cpu].kind:
            self.postponed[epoch] = self._started(cpu)
            self.calls[cpu] = Call()

    def epoch_ended(self, epoch: int) -> None:
        """What was postponed to the end of the epoch holds from here on."""
        call = self.postponed.pop(epoch, None)
        if call is not None:
            self.in_flight -= 1
            self._settle(call)

    def forked(self, cpu: int, child: int) -> None:
        """The fork on the CPU returns the address space `child`: it has the parent's regions and a snapshot of each
        private page; nothing in it is registered with userfaultfd.
        """
        if not self.calls[cpu].kind:
            return
        call = self._started(cpu)
        call.child = child
        self.living.add(child)
        first, parent = child * PAGES, call.mm * PAGES
        for page in range(PAGES):
            self.region[first + page] = self.region[parent + page] & ~(REGISTERED | POPULATED)
            self.register[first + page] = self.register[parent + page]
            self.mark[first + page] = NO
        for i, (page, _) in enumerate(call.parents):
            self.register[first + page] = call.child_first + i

    def exited(self, mm: int) -> None:
        """The last thread of the address space has exited: nobody can make an access there any more."""
        for slot in range(mm * PAGES, mm * PAGES + PAGES):
            self.region[slot] = HOLE
            self.register[slot] = NO_REGISTER
            self.mark[slot] = NO
            self.older.pop(slot, None)
        for call in self.calls:
            if call.kind == EXIT and call.mm == mm:
                call.child = mm
        for thread in [thread for thread in self.pkru if thread[1] == mm]:
            del self.pkru[thread]

    def _settle(self, call: Call) -> None:
        for slot in call.slots:
            self._drop_older(slot, call.sequence)
        for register, promised in call.zeroed:
            if register < PRIVATE and self.older:
                self._detach(register)
            self.end_zeroing(register, call.sequence, promised=promised)
        for register in call.free:
            self.end_free(register)
        for slot, mark in call.marks:
            self._end_marking(slot, mark)
        for i, (_, register) in enumerate(call.parents):
            self.end_snapshot(register, call.child_first + i)
        call.clear()

    def _detach(self, register: int) -> None:
        """A page of the file or of a driver becomes another one: a region of it that a call in flight has replaced may
        go on to show the old one.

        munmap takes a page out of its table before it flushes, and a hole that is punched meanwhile finds it unmapped
        (good_punch_beside_munmap).
        """
        for slot, older in self.older.items():
            for i, (sequence, region, held) in enumerate(older):
                if held == register:
                    kept = self.new_register()
                    self.open_register(kept).values = self.values_of(register)
                    self.settle(kept)
                    self.older[slot][i] = (sequence, region, kept)

    def _drop_older(self, slot: int, sequence: int) -> None:
        older = self.older.get(slot)
        if older is not None:
            older = [version for version in older if version[0] > sequence]
            if older:
                self.older[slot] = older
            else:
                del self.older[slot]

    # What each call makes of the regions and contents.

    def _replace(self, call: Call, slot: int, region: int, register: int) -> None:
        if not self.at_once:
            older = self.older.setdefault(slot, [])
            older.append((call.sequence, self.region[slot], self.register[slot]))
            call.slots.append(slot)
        self.region[slot] = region
        self.register[slot] = register
        if not region & REGISTERED:
            self.mark[slot] = NO

    def _mapping(self, page: int, prot: int, kind: int) -> tuple[int, int]:
        """Return the region and the register of a page that is mapped anew."""
        region = region_of(prot)
        if kind in _FIRST:
            return region, _FIRST[kind] + page
        return region | (HUGE if kind == MAP_HUGE else 0), self.new_register()

    def _mmap(self, call: Call, slots: range) -> None:
        """MAP_FIXED_NOREPLACE: nothing, if anything is mapped there."""
        for slot in slots:
            if self.region[slot]:
                return
        prot, kind = call.arg & ANY_KIND, call.arg >> MAP_KIND_AT
        for slot in slots:
            self._replace(call, slot, *self._mapping(slot % PAGES, prot, kind))

    def _mprotect(self, call: Call, slots: range) -> None:
        """Up to the first hole (ENOMEM)."""
        rights = region_of(call.arg & ANY_KIND)
        key = (call.arg >> KEY_AT << KEY_AT) & KEY
        for slot in slots:
            old = self.region[slot]
            if not old:
                return
            new = old & ~ANY_KIND | rights
            if call.kind == PKEY_MPROTECT:
                new = new & ~KEY | key
            if new != old:
                self._replace(call, slot, new, self.register[slot])

    def _mremap(self, call: Call, first: int) -> None:
        """Move what is mapped in the range, hole by hole, and unmap what was at each target.

        A range that begins with a hole is refused, and so is one with several regions (VMAs) if the first is registered
        with userfaultfd; one that comes later ends the call there. What moves is registered no more.
        """
        mm, count, target = call.mm, call.count, call.arg
        source = first - mm * PAGES
        if target + count > self.pages or abs(target - source) < count or not self.region[first]:
            return
        page = 0
        while page < count:
            if not self.region[first + page]:
                page += 1
                continue
            length = self._run(first + page, count - page)
            if self.region[first + page] & REGISTERED and (page or length < count):
                return
            for i in range(page, page + length):
                self._move(call, first + i, mm * PAGES + target + i)
            page += length

    def _run(self, slot: int, limit: int) -> int:
        """Return how many pages from the slot on, `limit` at most, belong to one region (VMA)."""
        region = self.region[slot] & ~POPULATED
        register = self.register[slot]
        length = 1
        while length < limit and self.region[slot + length] & ~POPULATED == region:
            other = self.register[slot + length]
            if other != register + length if register < PRIVATE else other < PRIVATE:
                break
            length += 1
        return length

    def _move(self, call: Call, slot: int, target: int) -> None:
        region = self.region[slot] & ~(REGISTERED | POPULATED)
        self._replace(call, target, region, self.register[slot])
        self._replace(call, slot, HOLE, NO_REGISTER)

    def _madvise(self, call: Call, slots: range) -> None:
        """What is mapped of the range; a driver's pages, and MADV_FREE of shared memory, end it there (EINVAL)."""
        for slot in slots:
            region, register = self.region[slot], self.register[slot]
            if not region:
                continue
            if DRIVER <= register < PRIVATE or (call.kind == FREE and register < PRIVATE):
                return
            certain = self._is_certain(slot)
            self.region[slot] &= ~POPULATED
            if register < PRIVATE:
                continue
            if call.kind == DONTNEED:
                self._zero(call, register, promised=certain)
                if region & REGISTERED:
                    self._begin_marking(call, slot, NO if certain else PERHAPS)
            else:
                self.begin_free(register)
                if self.at_once:
                    self.end_free(register)
                else:
                    call.free.append(register)
                if self.mark[slot] == YES:
                    self._begin_marking(call, slot, PERHAPS)

    def _is_certain(self, slot: int) -> bool:
        """Return whether the page is mapped, and to what, whatever a call in flight makes of its region.

        Another call may have found what was before that one or after it.
        """
        register, registered = self.register[slot], self.region[slot] & REGISTERED
        return all(
            held == register and region & REGISTERED == registered
            for _, region, held in self.older.get(slot, ())
        )

    def _zero(self, call: Call, register: int, *, promised: bool) -> None:
        if self.at_once:
            self.unsettled.pop(register, None)
            self.value[register] = 0
            return
        self.begin_zeroing(register, call.sequence)
        call.zeroed.append((register, promised))

    def _fork(self, call: Call) -> None:
        """Snapshots of the private pages, each taken at some instant until the fork returns."""
        first = call.mm * PAGES
        for page in range(PAGES):
            register = self.register[first + page]
            if register >= PRIVATE:
                child = self.begin_snapshot(register)
                if not call.parents:
                    call.child_first = child
                call.parents.append((page, register))

    def _register(self, call: Call, slots: range) -> None:
        """Nothing, if the range has pages of the file or of a driver (EINVAL)."""
        for slot in slots:
            if FILE <= self.register[slot] < PRIVATE:
                return
        for slot in slots:
            region = self.region[slot]
            if region and not region & REGISTERED:
                self._replace(call, slot, region | REGISTERED, self.register[slot])

    def _write_protect(self, call: Call, slots: range) -> None:
        """Up to the first region that is not registered (ENOENT); a page without anything mapped may stay as it is."""
        for slot in slots:
            region = self.region[slot]
            if not region:
                continue
            if not region & REGISTERED:
                return
            certain = self._is_certain(slot)
            mark = PERHAPS
            if certain and call.kind == RESOLVE:
                mark = NO
            elif certain and self._is_populated(slot):
                mark = YES
            self._begin_marking(call, slot, mark)

    def _is_populated(self, slot: int) -> bool:
        """Return whether something must be mapped at the page, or be in swap: else a write-protection may miss it.

        In shared memory it does not: a marker stands for the page (Linux 7.3, mm/mprotect.c change_pte_range).
        """
        register = self.register[slot]
        if register < PRIVATE:
            return True
        state = self.unsettled.get(register)
        if state is not None:
            return bool(self.region[slot] & POPULATED) and not (state.dispensable or state.freeing)
        return bool(self.region[slot] & POPULATED or (register >= PRIVATE and self.value[register]))

    def _wrpkru(self, call: Call) -> None:
        """The rights (none, r, rw) of the thread to the pages of a key."""
        key, rights = divmod(call.arg, 3)
        at = 2 * (key + 1)
        denied = (NO_ACCESS, NO_WRITE, 0)[rights]
        thread = (call.cpu, call.mm)
        self.pkru[thread] = self.pkru.get(thread, 0) & ~(3 << at) | denied << at

    def _pkru_of(self, cpu: int, slot: int) -> int:
        return self.pkru.get((cpu, slot // PAGES), 0) if self.pkru else 0

    def _begin_marking(self, call: Call, slot: int, mark: int) -> None:
        if self.at_once:
            self.mark[slot] = mark
            return
        others = self.marking.get(slot, 0)
        self.marking[slot] = others + 1
        if others:
            self.overlapped.add(slot)
        call.marks.append((slot, mark))

    def _end_marking(self, slot: int, mark: int) -> None:
        others = self.marking[slot] - 1
        overlapped = slot in self.overlapped
        if others:
            self.marking[slot] = others
        else:
            del self.marking[slot]
            self.overlapped.discard(slot)
        self.mark[slot] = PERHAPS if overlapped else mark

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
                if self.mark[slot] == YES:
                    return NOT_TRAPPED
                self.mark[slot] = NO
            if not self.in_flight:
                self.region[slot] = region | POPULATED
        register = self.register[slot]
        if kind == WRITE:
            if self.unsettled:
                self.store(register, value)
            else:
                self.value[register] = value
        elif register not in self.unsettled:
            if self.value[register] != value:
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
        pkru = self._pkru_of(cpu, slot)
        explained = self.explained >> cpu & 1
        regions = self._may_meet(slot) if slot in self.older else (self.region[slot],)
        for region in regions:
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
        pkru = self._pkru_of(cpu, slot)
        for region in self._may_meet(slot):
            if not allows(region, kind, pkru):
                self.explained |= 1 << cpu

    def _may_meet(self, slot: int) -> list[int]:
        """Return the regions that an access may meet."""
        return [self.region[slot], *(region for _, region, _ in self.older.get(slot, ()))]

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
            if self.mark[slot] == NO:
                return TRAPPED
            self.mark[slot] = YES
        return FINE


_READERS: Final = frozenset({DONTNEED, FREE, PROTECT, RESOLVE, PUNCH, REVOKE, WRPKRU, EXIT})
"""Calls that change no region."""
