"""One round of a race: warm the TLBs, open a window, meet in it, check.

Every race of docs/linux-tlb.md part E is one such round: some CPUs access a page, an operation on it pauses, a second
operation comes to the same page or takes the same locks and generations, and some CPU accesses the page. Each CPU has
one part: it opens the window, it comes into the window, or it has the old translation.
"""

from collections.abc import Sequence
from typing import Final

from shootdown.fuzz.inputs.draws import Draws
from shootdown.fuzz.inputs.pauses import Pauses
from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.mm.declaration import Lock
from shootdown.mm.operations import BY_NUMBER
from shootdown.scenario import kinds
from shootdown.scenario.binary import run_bits
from shootdown.scenario.kinds import (
    COLLAPSE,
    COPY,
    DONTNEED,
    EXEC,
    EXIT,
    FILL,
    FORK,
    HUGE,
    KINDS,
    KSM,
    LAZY,
    MAP_HUGE,
    MAP_SHIFT,
    MAX_SPACES,
    MMAP,
    MPROTECT,
    MREMAP,
    MUNMAP,
    NUMA_SCAN,
    POKE,
    READ,
    RUN,
    SHRINK,
    SPACE,
    WRITE,
)
from shootdown.scenario.record import Header

OPERATIONS: Final = tuple(kind for kind in kinds.OPERATIONS if kind >= MPROTECT)
_WARM: Final = (READ, WRITE, WRITE, WRITE, EXEC, FILL)
_FAULTS: Final = (READ, WRITE)
_LOOK_AT_ZEROS: Final = (READ, READ, FILL)
_LOOK: Final = (READ, WRITE, WRITE, EXEC, FILL)
_READ_WRITE: Final = 3
_HUGE_READ_WRITE: Final = MAP_HUGE << MAP_SHIFT | _READ_WRITE
_NOWHERE, _ANYWHERE, _TOGETHER = range(3)
FAULTS_BEHIND: Final = {NUMA_SCAN: 0.5}
"""For these operations, how often a fault after the operation is in flight in a round, instead of the
operation itself.
"""
ALL_PAGES: Final = PAGES - 1 << 3
MEET_AT_DESTINATION: Final = 0.7
"""How often the operation that meets an mremap comes to the new place of the page; otherwise it names the page of the
file that moves.
"""
THIRD_FAULTS: Final = 0.3
THIRD: Final = 0.15
"""How often two operations on two CPUs pause at the same point on one page, and a third one passes: this shows a page
between two overlapping gathers, neither of which has flushed (b3a81d0841a9, 16af97dc5a89).
"""
HOLDING_CPUS: Final = 4
"""With at least this many CPUs, one of them may hold the page through the whole round and have no other part: a store
after a write-protection copies such a page.
"""
HOLDING_STEPS: Final = 3
HELD: Final = 0.5
SPLIT: Final = 0.5
"""How often the huge page is split before a round with a collapse."""
ONE_PAGE: Final = 0.7
ONE_PAGE_OF_A_TABLE: Final = 0.35
"""How often a range is one page; the second value is for races about a huge page, or about a table that is removed."""
GOES_LAZY: Final = 0.5
"""How often one of the CPUs that have the translation becomes lazy with it: no flush invalidates it there."""
OBSERVED: Final = 0.6
"""How often the CPU that has the translation, and that checks, is the one with no other part. Among five CPUs two draws
are equal once in five times.
"""
LOOK_INSIDE: Final = 0.7
"""How often a CPU checks before the first operation goes on: a fault there may undo what the race needs."""
_CALLS: Final = [BY_NUMBER[kind] for kind in OPERATIONS]
_WITHOUT_LOCK: Final = [each.number for each in _CALLS if each.lock is Lock.NONE]
_SHARING: Final = [
    each.number
    for each in _CALLS
    if each.lock not in {Lock.WRITE, Lock.WRITE_THEN_READ, Lock.ALONE}
]
_MEETS: Final = {
    Lock.NONE: list(OPERATIONS),
    Lock.VMA: list(OPERATIONS),
    Lock.READ: _SHARING,
    Lock.WRITE_THEN_READ: _SHARING,
    Lock.WRITE: _WITHOUT_LOCK,
    Lock.ALONE: _WITHOUT_LOCK,
}
MEETS: Final = {each.number: _MEETS[each.lock] for each in _CALLS}
"""For each operation in flight, the operations that can overlap with it. An operation that holds mmap_lock for writing
meets only those that do not take it: they come by the rmap, from the scheduler or without any lock. An operation that
must be alone meets the same ones. If the second operation were drawn blindly, it would mostly wait. An operation that
holds the lock of a VMA meets them all, before its flush.
"""
ELSEWHERE: Final = 0.25
ELSEWHERE_TOGETHER: Final = 0.6
"""How often the second operation goes to another page, because two operations share the generations and locks of an
address space. It is more often where both pause at the same point: if two flushes are under way, one is mistaken for
the other only when the pages differ (partial-by-local: a median of 36,000 executions of the random engine without
this).
"""


class Round:
    """Appends to a body the records of a round, among operations of the given kinds, of which there is at least one.

    The CPU that opens, the CPU that comes, the CPU that held the translation before, and the place are each drawn once.
    """

    def __init__(
        self,
        draws: Draws,
        header: Header,
        operations: Sequence[int],
        body: bytearray,
        pauses: Pauses,
    ) -> None:
        self.draws = draws
        self.pauses = pauses
        self.header = header
        self.operations = operations
        self.body = body
        cpus = draws.sample(range(header.cpus), header.cpus)
        holders = [kind for kind in operations if BY_NUMBER[kind].holds_page]
        self.holder: tuple[int, int] | None = None
        if holders and len(cpus) >= HOLDING_CPUS and draws.random() < HELD:
            self.holder = draws.choice(holders), cpus.pop()
        self.first = cpus[0]
        self.others = cpus[1:-1] or cpus[1:] or cpus
        self.observer = cpus[-1]
        self.wide = header.layout == HUGE or {MUNMAP, LAZY} <= set(operations)
        self.page = draws.randrange(0, header.pages)
        # Where the second operation pauses. The last choice is for two flushes, or two copies, under way at once,
        # because drawing a point twice is rare.
        self.second = draws.choice((_NOWHERE, _NOWHERE, _TOGETHER, _ANYWHERE))
        apart = ELSEWHERE_TOGETHER if self.second == _TOGETHER else ELSEWHERE
        self.meeting = draws.randrange(0, header.pages) if draws.random() < apart else self.page
        self.partners: list[int] = []

    def append(self) -> None:
        """Append the whole round."""
        self._warm()
        self._hold()
        kind, cut = self._open()
        met = self._meet(kind, cut)
        self._look(met)
        if self.draws.random() < 0.5:
            # Otherwise the next round would find nothing to race for, because this round has taken it away.
            repair = MMAP if self.draws.random() < 0.5 else MPROTECT
            self._put(repair, self._any_cpu(), self.page, _READ_WRITE)

    def _put(self, kind: int, cpu: int, pages: int = 0, arg: int = 0, run: int = 0) -> None:
        low, high = run_bits(run)
        self.body += bytes((kind, cpu | low, pages | high, arg))

    def _any_cpu(self) -> int:
        return self.draws.randrange(0, self.header.cpus)

    def _witness(self) -> int:
        """Return the observer, or now and then any CPU."""
        return self.observer if self.draws.random() < OBSERVED else self._any_cpu()

    def _warm(self) -> None:
        draws = self.draws
        zeros = SHRINK in self.operations
        if zeros:
            self._map_zeros()
        for _ in range(draws.randrange(1, 4)):
            # A CPU that holds only one page misses the half of a batch that a lost range drops.
            warm, cpu = draws.choice(_LOOK_AT_ZEROS if zeros else _WARM), self._witness()
            for at in sorted({self.page, self.meeting}):
                self._put(warm, cpu, at, self._side(warm))
        wanted = ((COLLAPSE, self._split), (KSM, self._make_alike), (LAZY, self._go_lazy))
        for kind, prepare in wanted:
            if kind in self.operations:
                prepare()

    def _map_zeros(self) -> None:
        """Map the huge zero page again, as a whole: stores replace it, and protection changes of a part split it."""
        self._put(MMAP, self._any_cpu(), _block(self.page), _HUGE_READ_WRITE)

    def _split(self) -> None:
        """Split the huge page: a collapse needs a page table, and the first touch of the region has made a
        huge page.
        """
        if self.draws.random() < SPLIT:
            self._put(DONTNEED, self._any_cpu(), (self.page ^ 1) % self.header.pages)

    def _make_alike(self) -> None:
        """Copy one page to the other: the contents of stores differ, so two pages are alike only after a copy."""
        cpu = self._any_cpu()
        source = (self.page + self.draws.randrange(1, self.header.pages)) % self.header.pages
        self._put(WRITE, cpu, source)
        self._put(COPY, cpu, source, self.page)

    def _go_lazy(self) -> None:
        """Make a CPU lazy: no flush invalidates what a lazy CPU has cached."""
        if self.draws.random() < GOES_LAZY:
            self._put(LAZY, self.observer)

    def _hold(self) -> None:
        """Let a CPU without any other part hold a reference of the page through the whole round."""
        if self.holder:
            self._put(*self.holder, self.page, 0, self.draws.randrange(1, HOLDING_STEPS + 1))

    def _open(self) -> tuple[Sequence[int], int]:
        """Leave something in flight on the first CPU; return the kinds that may meet it, and its pause."""
        draws = self.draws
        kind = draws.choice(self.operations)
        if kind == POKE and draws.random() < 0.5:
            # A kernel thread patches text as well, and has the page tables of a process loaded.
            self._put(LAZY, self.first)
        if kind in FAULTS_BEHIND and draws.random() < FAULTS_BEHIND[kind]:
            return self._open_fault(kind)
        cut, arg = draws.choice(self.pauses.cuts), self._argument(kind)
        self._put(kind, self.first, self._span(self.page), arg, cut)
        if kind == MREMAP and draws.random() < MEET_AT_DESTINATION:
            self.meeting = arg % self.header.pages
        return [other for other in self.operations if other in MEETS[kind]] or MEETS[kind], cut

    def _open_fault(self, kind: int) -> tuple[Sequence[int], int]:
        """Let the operation finish, and leave a fault after it in flight, sometimes after another CPU has had a fault.

        The operation that comes then is often the same one again, which finds the page as the fault found it.
        """
        draws = self.draws
        self._put(kind, self._any_cpu(), self._span(self.page), self._argument(kind))
        cut = draws.choice(self.pauses.fault_cuts)
        self._put(draws.choice(_FAULTS), self.first, self.page, 0, cut)
        if draws.random() < 0.5:
            self._put(draws.choice(_FAULTS), self._witness(), self.page)
        if draws.random() < 0.5:
            return [kind], cut
        return [other for other in self.operations if other in _SHARING] or _SHARING, cut

    def _meet(self, partners: Sequence[int], cut: int) -> int:
        """Let one or two operations come in; return the CPU of the last one."""
        draws = self.draws
        if len(self.others) > 1 and draws.random() < THIRD:
            self.meeting = self.page
            second, third = self.others[:2]
            self._come(draws.choice(partners), second, cut)
            if KSM in partners:
                # A merge checks whether an entry looks clean and read-only, as two calls leave it before they flush.
                self._come(KSM, third, 0)
            elif draws.random() < THIRD_FAULTS:
                cut = draws.choice(self.pauses.fault_cuts)
                self._put(draws.choice(_FAULTS), third, self.page, 0, cut)
            else:
                self._come(draws.choice(partners), third, 0)
            return third
        cpu = self.first
        for turn in range(draws.randrange(1, 3)):
            cpu = self.others[turn % len(self.others)]
            run = (0, draws.choice(self.pauses.cuts), cut)[self.second]
            self._come(draws.choice(partners), cpu, run)
        return cpu

    def _come(self, kind: int, cpu: int, run: int) -> None:
        self._put(kind, cpu, self._span(self.meeting), self._argument(kind), run)

    def _look(self, met: int) -> None:
        """Let some CPUs access the pages, while the first operation goes on after the first access."""
        draws = self.draws
        first = self.first
        for turn in range(draws.randrange(1, 5)):
            at = self.meeting if draws.random() < 0.5 else self.page
            if turn or draws.random() < LOOK_INSIDE:
                look = draws.choice(_LOOK)
                self._put(look, self._witness(), at, self._side(look))
            if not turn:
                for cpu in draws.choice(((first,), (first,), (first, met), (met, first))):
                    self._put(RUN, cpu)

    def _side(self, kind: int) -> int:
        """Return the TLB for which a fill is, if there are two; an access has no argument."""
        if kind != FILL or not self.header.machine & kinds.SPLIT_TLB:
            return 0
        return self.draws.randrange(0, 2)

    def _argument(self, kind: int) -> int:
        """Return the byte of an argument; an address space is mostly the first one, which alone exists
        without a fork.
        """
        arg = self.draws.randrange(0, 256)
        forks = FORK in self.operations or EXIT in self.operations
        if forks or KINDS[kind].argument is not SPACE or self.draws.random() < 0.5:
            return arg
        return arg - arg % MAX_SPACES

    def _span(self, page: int) -> int:
        """Return the byte of a range: mostly only the page, sometimes its huge page, or all pages."""
        width = self.draws.random()
        if width < (ONE_PAGE_OF_A_TABLE if self.wide else ONE_PAGE):
            return page
        return _block(page) if width < 0.9 else ALL_PAGES


def _block(page: int) -> int:
    """Return the byte of the range of the huge page that contains the page."""
    return page & ~(FANOUT - 1) | FANOUT - 1 << 3
