"""Whether a change needs a flush: an exhaustive search decides it, not the meaning of the flags.

A flush is needed when some short sequence of events is illegal without it and legal with it.
Both worlds, with the flush and without it, see the same events; the search tries every processor that can treat one
stale entry differently: those of the switches about faults, and, where a store may go through a clean entry, those of
the switches about dirty bits. The rules are C1 to C5, which concern what the program can see: a stale entry that no
access can use needs no flush, so C6
does not count here.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Final, NamedTuple, TypeAlias

from shootdown.machine.entry import ACCESSED, DIRTY, GLOBAL, PRESENT, RW
from shootdown.scenario import kinds
from shootdown.scenario.record import Record
from shootdown.scenario.switches import DECLARED, Subject
from shootdown.table.changes import SOFTWARE
from shootdown.table.trial import CPUS, DISCARD, FaultHandling, Trial

DEPTH: Final = 2
"""The number of events that a search tries in a row; tests/test_table_need.py shows that one more finds
nothing else.
"""

YES: Final = "yes"
NO: Final = "no"
WITHOUT_REWALK: Final = "without-rewalk"
"""The flush is needed only by a processor whose store through a clean entry does not check the entry in
memory again.
"""

SPURIOUS_FAULT: Final = "spurious-fault"
"""The flush saves a spurious fault."""
ACCESSED_AGAIN: Final = "accessed-again"
"""With the flush the processor sets the accessed bit again, and page aging sees the next use."""


class Counterexample(NamedTuple):
    """Events that are illegal without the flush; the last of them violates for `reason`.

    `events`: empty if the change itself is illegal.
    `machine`: the set of switches of the processor.
    """

    events: tuple[Record, ...]
    reason: str
    machine: int


class Need(NamedTuple):
    """Whether a change needs a flush, the shortest execution that shows it, and what a needless flush gains."""

    needed: str
    counterexample: Counterexample | None
    gains: frozenset[str]


_Node: TypeAlias = tuple[int, tuple[Record, ...], Trial]
"""A processor, events, and the trial without the flush after these events."""


def need_of(old: int, new: int, *, huge: bool, handling: FaultHandling, depth: int = DEPTH) -> Need:
    """Return whether replacing `old` by `new` needs a flush under a fault handler."""
    # Bits that the processor ignores make no difference to it, nor to the fault handler in a region without
    # userfaultfd.
    old, new = (entry & ~SOFTWARE if entry & PRESENT else entry for entry in (old, new))
    return _need(old, new, huge, handling, depth)


@cache
def _need(old: int, new: int, huge: bool, handling: FaultHandling, depth: int) -> Need:  # noqa: FBT001 - a key
    search = _Search(old, new, huge=huge, handling=handling)
    # Only such a store goes through a clean writable entry.
    clean = any(entry & (PRESENT | RW | DIRTY) == PRESENT | RW for entry in (old, new))
    stores = _machines(Subject.DIRTY) if clean else [0]
    processors = [fault | store for store in stores for fault in _machines(Subject.FAULT)]
    found = search.run(processors, depth)
    if found:
        return Need(YES, found, frozenset())
    gains = frozenset(search.gains)
    if clean:
        found = search.run([switches | kinds.NO_DIRTY_REWALK for switches in processors], depth)
    return Need(WITHOUT_REWALK if found else NO, found, gains)


def _machines(subject: Subject) -> list[int]:
    """Return each set of the switches about a subject that real processors have."""
    bits = [each.bit for each in DECLARED if each.subject is subject and each.real]
    return [sum(chosen) for chosen in product(*((0, bit) for bit in bits))]


class _Search:
    """The search for an execution that misses the flush of one change, and for what the flush gains elsewhere."""

    def __init__(self, old: int, new: int, *, huge: bool, handling: FaultHandling) -> None:
        self.old = old
        self.new = new
        self.huge = huge
        self.handling = handling
        self.gains: set[str] = set()
        self.switches = bool(old & new & PRESENT and (old | new) & GLOBAL)

    def run(self, processors: list[int], depth: int) -> Counterexample | None:
        """Return the shortest counterexample of the first processor that has one of that length; None when there is
        none.
        """
        level: list[_Node] = [
            (machine, (), self._trial(machine, flush=False)) for machine in processors
        ]
        for length in range(depth + 1):
            for machine, events, bare in level:
                if bare.reason:
                    if not self._with_flush(machine, events).reason:
                        return Counterexample(events, bare.reason, machine)
                elif not machine & kinds.NO_DIRTY_REWALK:
                    self._compare(machine, events, bare)
            if length < depth:
                level = [node for parent in level for node in self._next(*parent)]
        return None

    def _next(self, machine: int, events: tuple[Record, ...], bare: Trial) -> Iterator[_Node]:
        """Yield the trials that one more event makes of a trial, unless the trial is over or the event
        leaves no trace.
        """
        if bare.over:
            return
        before = bare.world.key()
        for event in _events(first=not events, switches=self.switches):
            after = bare.copy()
            after.apply(event)
            # A load or a fetch that finds its translation cached leaves nothing that a later event could notice.
            if event[0] != kinds.WRITE and not after.over and after.world.key() == before:
                after.over = True
            yield machine, (*events, event), after

    def _trial(self, machine: int, *, flush: bool) -> Trial:
        return Trial(
            self.old, self.new, huge=self.huge, machine=machine, handling=self.handling, flush=flush
        )

    def _with_flush(self, machine: int, events: tuple[Record, ...]) -> Trial:
        trial = self._trial(machine, flush=True)
        for event in events:
            trial.apply(event)
        return trial

    def _compare(self, machine: int, events: tuple[Record, ...], bare: Trial) -> None:
        """Note what the flush gains in an execution that is legal without it."""
        faults = bare.spurious_faults and SPURIOUS_FAULT not in self.gains
        cleared = self.old & ~self.new & ACCESSED and ACCESSED_AGAIN not in self.gains
        if not faults and not cleared:
            return
        flushed = self._with_flush(machine, events)
        if flushed.reason:
            return
        if flushed.spurious_faults < bare.spurious_faults:
            self.gains.add(SPURIOUS_FAULT)
        if cleared and flushed.entry & ~bare.entry & ACCESSED:
            self.gains.add(ACCESSED_AGAIN)


def _events(*, first: bool, switches: bool) -> list[Record]:
    """Return the events that may come next.

    Both CPUs are in the same state until the first event, so it is enough that CPU 1 executes it.
    """
    cpus = range(1, CPUS) if first else range(CPUS)
    accesses = (kinds.READ, kinds.WRITE, kinds.EXEC)
    events: list[Record] = [(kind, cpu, 0, 0, 1, 0) for cpu in cpus for kind in accesses]
    if switches:
        events += [(kinds.SWITCH, cpu, 0, 0, 1, 1) for cpu in cpus]
    return [*events, DISCARD]
