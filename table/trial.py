"""One change of an entry, made by an operation on CPU 0 while both CPUs have the old entry cached.

The operation is the smallest one that makes the change as the kernel does. It denies what it takes away; it flushes
every CPU or none; and after the place of the flush it does what must not be done earlier (it copies or frees the old
frame).
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from shootdown.contract.contract import FINE, Contract
from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    EXEC,
    GLOBAL,
    NX,
    PRESENT,
    PROTNONE,
    PSE,
    READ,
    RW,
    USER,
    WRITE,
)
from shootdown.machine.geometry import FANOUT, FRAME_BITS, frame_of
from shootdown.mm.fault_handler import FaultHandler
from shootdown.mm.frames import put_page
from shootdown.mm.state import MMS, SPURIOUS, VM_HUGE, VM_MAPPED
from shootdown.mm.tables import (
    is_migration,
    is_swap,
    new_table,
    pmd_at,
    pte_at,
    rights,
    set_pmd_leaf,
    set_pmd_table,
    set_pte,
)
from shootdown.optimized import rules
from shootdown.optimized.policy import Policy
from shootdown.run.execute import DeadlockError, apply, boot
from shootdown.run.oracle import Oracle, Violation
from shootdown.scenario import kinds
from shootdown.scenario.record import Header, Record
from shootdown.table.attributes import AttributeMachine
from shootdown.table.changes import NEW_FRAME, OLD_FRAME

CPUS: Final = 2
SPACE_FRAME: Final = 48
"""The content of the page in the second address space."""

DISCARD: Final[Record] = (kinds.RECLAIM, 0, 0, 0, 1, 0)
"""The event that reclaim drops the page if its entry is clean; every other event is a record of a scenario."""


class FaultHandling(NamedTuple):
    """The page-fault handler that accompanies a rule, and the entries that a fault installs: see
    mm.flush.FlushStrategy.
    """

    handler: FaultHandler = FaultHandler.LINUX
    report_spurious: bool = False


class NoCalls(Contract):
    """A contract that allows everything: the change is made by hand and belongs to no call.

    So the calls allow whatever the history allows.
    """

    def access(self, cpu: int, slot: int, kind: int, value: int) -> str:
        """Allow it."""
        del cpu, slot, kind, value
        return FINE

    def denied(self, cpu: int, slot: int, kind: int, reported: int) -> str:
        """Allow it."""
        del cpu, slot, kind, reported
        return FINE

    def trapped(self, slot: int) -> str:
        """Allow it."""
        del slot
        return FINE


class Trial:
    """A world in which the change has been made, and what has happened since.

    `reason`: the reason of the violation that ended the trial, "" while there is none.
    `over`: no event can follow, because of a violation, a discard, or an access that waits for ever.
    """

    __slots__ = ("oracle", "over", "pages", "reason", "world")

    def __init__(
        self, old: int, new: int, *, huge: bool, machine: int, handling: FaultHandling, flush: bool
    ) -> None:
        """Boot, cache `old` on every CPU, and let CPU 0 replace it by `new`, with or without the flush.

        `machine`: a set of switches.
        """
        strategy = Policy("trial", rules.always, **handling._asdict()).make()
        self.pages = FANOUT if huge else 1
        self.reason = ""
        self.over = False
        header = Header(CPUS, self.pages, kinds.EMPTY, machine, asids=2)
        self.world, self.oracle = boot(header, strategy, Oracle, AttributeMachine)
        self.oracle.contract = NoCalls(self.world.steps, MMS, self.pages)
        self._begin(old, new, huge=huge)
        self._try(lambda: self._operation(old, new, flush=flush))

    def copy(self) -> "Trial":
        """Return an equal trial that shares no mutable state with this one; this one must not be over."""
        other = Trial.__new__(Trial)
        other.pages = self.pages
        other.reason = ""
        other.over = False
        other.world, other.oracle = self.oracle.fork()
        return other

    def apply(self, event: Record) -> None:
        """Let an event happen; if the trial is over, do nothing."""
        if self.over:
            return
        if event == DISCARD:
            self._try(self._discard)
            self.over = True
        else:
            self._try(lambda: apply(self.world, event))

    @property
    def entry(self) -> int:
        """Return the entry that is in memory now."""
        return self.world.machine.memory[self._at()]

    @property
    def spurious_faults(self) -> int:
        """Return how many faults found nothing to do."""
        return self.world.costs[SPURIOUS]

    def _try(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Violation as violation:
            self.reason = violation.reason
            self.over = True
        except DeadlockError:
            # The access waits for an operation that is not modelled here, such as the end of a migration.
            self.over = True

    def _at(self) -> int:
        w = self.world
        return pmd_at(w, 0, 0) if self.pages > 1 else pte_at(w, 0, 0)

    def _begin(self, old: int, new: int, *, huge: bool) -> None:
        """Map the page with the entry `old`, and let every CPU cache what it may."""
        w = self.world
        block = (1 << FANOUT) - 1
        for frame in (OLD_FRAME, NEW_FRAME, SPACE_FRAME):
            w.free_frames &= ~(block << frame)
        self._region(_region_rights(old, new), VM_HUGE if huge else 0)
        if not huge:
            set_pmd_table(w, 0, 0, 0, new_table(w))
        if old and not is_swap(old):
            self._fresh(self._frame(old))
        self._store(old)
        if old & DIRTY and old & PRESENT:
            self._write_content()
        if (old | new) & GLOBAL and old & new & PRESENT:
            self._second_space()
        for cpu in range(CPUS):
            w.machine.fill(cpu, 0)
        # A fill sets A; the entry may have lost A again since then, and stay cached.
        w.machine.memory[self._at()] = old

    def _operation(self, old: int, new: int, *, flush: bool) -> None:
        w, oracle = self.world, self.oracle
        moved = bool(old & new & PRESENT) and self._frame(old) != self._frame(new)
        lost = _granted(old) & ~_granted(new)
        deny = READ | WRITE | EXEC if moved or not new & PRESENT else lost
        if new & PRESENT or new & PROTNONE:
            self._region(_granted(new), w.vma[0][0] & VM_HUGE)
        if moved or (is_migration(old) and new):
            self._copy()
        elif new & PRESENT and not old & (PRESENT | PROTNONE | PSE):
            self._fresh(NEW_FRAME)
        self._store(new)
        for page in range(self.pages):
            oracle.visit(0, 0, page, deny)
            if old & new & PRESENT and old & ~new & DIRTY:
                oracle.lazy_freed(0, 0, self._frame(new) + page)
        if flush:
            for cpu in range(CPUS):
                w.machine.toggle_pge(cpu)
        self._consequences(old, new, moved=moved)
        oracle.close(0)

    def _consequences(self, old: int, new: int, *, moved: bool) -> None:
        """Do to the unmapped frame what an operation does after its flush."""
        w = self.world
        frames = range(OLD_FRAME, OLD_FRAME + self.pages)
        if new & PSE and not new & (PRESENT | PROTNONE):
            # pmdp_invalidate: an operation that wants the page waits for the lock.
            w.pmd_lock[0] = 0
        elif moved or (old and not new and not is_swap(old)):
            self._leave()
        elif is_migration(new) or is_swap(new):
            for frame in frames:
                self.oracle.copying(frame)
            if is_migration(new):
                self._copy()
                self._store(old & ~FRAME_BITS[OLD_FRAME] | FRAME_BITS[NEW_FRAME])
            self._leave()
        elif is_migration(old):
            self._leave()

    def _frame(self, entry: int) -> int:
        """Return the first frame of an entry; in an entry of 2 MiB, bit 0 of the frame number is PAT."""
        return frame_of(entry) & ~(self.pages - 1)

    def _store(self, entry: int) -> None:
        if self.pages > 1:
            set_pmd_leaf(self.world, 0, 0, 0, entry)
        else:
            set_pte(self.world, 0, 0, 0, entry)

    def _region(self, granted: int, flags: int) -> None:
        for page in range(self.pages):
            self.world.vma[0][page] = vma = VM_MAPPED | granted | flags
            self.oracle.region(0, 0, page, rights(vma))

    def _fresh(self, first: int) -> None:
        """Give the page its first content, in a frame of zeros."""
        for page in range(self.pages):
            self.world.refs[first + page] = 1
            self.world.machine.poison(first + page, 0)
            self.oracle.object_new(0, page, first + page)

    def _copy(self) -> None:
        memory = self.world.machine.memory
        for page in range(self.pages):
            self.world.refs[NEW_FRAME + page] = 1
            memory[(NEW_FRAME + page) << 2] = memory[(OLD_FRAME + page) << 2]
            self.oracle.object_copied(0, OLD_FRAME + page, NEW_FRAME + page)

    def _leave(self) -> None:
        for frame in range(OLD_FRAME, OLD_FRAME + self.pages):
            self.oracle.object_left(0, frame)
            put_page(self.world, frame)

    def _write_content(self) -> None:
        """Record a store of the program to the page, which explains why its entry is dirty."""
        w, oracle = self.world, self.oracle
        for page in range(self.pages):
            w.stamp += 1
            w.machine.memory[(OLD_FRAME + page) << 2] = w.stamp
            oracle.store(oracle.versions[page][-1], w.stamp)

    def _second_space(self) -> None:
        """Map another frame at the same page in another address space."""
        w = self.world
        w.root[1] = new_table(w)
        w.live[1] = True
        w.vma[1][0] = vma = VM_MAPPED | READ | WRITE | EXEC
        self.oracle.region(0, 1, 0, rights(vma))
        self.oracle.object_new(1, 0, SPACE_FRAME)
        w.refs[SPACE_FRAME] = 1
        w.machine.poison(SPACE_FRAME, 0)
        set_pmd_table(w, 0, 1, 0, new_table(w))
        set_pte(w, 0, 1, 0, FRAME_BITS[SPACE_FRAME] | PRESENT | USER | RW | ACCESSED | DIRTY)

    def _discard(self) -> None:
        entry = self.entry
        if entry & PRESENT and not entry & DIRTY:
            self.oracle.discarded(0, 0, self._frame(entry))


def _granted(entry: int) -> int:
    """Return the kinds of access that an entry grants."""
    if not entry & PRESENT or not entry & USER:
        return 0
    return READ | entry & RW | (0 if entry & NX else EXEC)


def _region_rights(old: int, new: int) -> int:
    """Return what the region allows before the change: the rights of its old entry, or of the new one."""
    if old & (PRESENT | PROTNONE):
        return _granted(old)
    return _granted(new) or READ
