"""A miniature TLB model with planted bugs: what the minimizer's tests reduce against.

It is deliberately smaller than the real models and shares no code with them: one address space,
one PTE per page, whole operations as lists of named steps. What it keeps is everything that makes
minimization hard: pauses between steps, locks that block, batches, lazy CPUs, frames that are
reused, and records that are noise.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, NamedTuple

from fuzz.scenario import Header, Record, Scenario, kinds
from fuzz.scenario.generate import random_scenario

if TYPE_CHECKING:
    from collections.abc import Callable

R, W, X = 1, 2, 4
RX, RW = R | X, R | W
ZERO_FRAME: Final = 0
MAX_STEPS: Final = 2000

# What address space 0 allows at start, by layout: private, empty, shared, huge, readonly.
_LAYOUT_PROT: Final = (RW, 0, RW, RW, R)
_SHARED_LAYOUTS: Final = (2, 3)


class Pte(NamedTuple):
    """A present page-table entry: the frame it points to and the access kinds it grants."""

    frame: int
    perms: int


class Violation(NamedTuple):
    """What the toy oracle reports: the rule and a stable reason, as the real one does."""

    rule: str
    reason: str


class _IllegalError(Exception):
    """Ends a run at its first violation."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation)
        self.violation = violation


Step = tuple[str, "Callable[..., bool | None]", tuple[int, ...]]

FAULTS: Final[dict[str, Violation]] = {
    "skip-demotion": Violation("C1", "stale-grant"),
    "skip-absent": Violation("C1", "stale-grant"),
    "drop-last": Violation("C1", "stale-grant"),
    "lose-batch": Violation("C1", "stale-grant"),
    "free-early": Violation("C3", "dead-frame"),
    "skip-lazy": Violation("C1", "stale-grant"),
    "early-flush": Violation("C1", "stale-grant"),
    "early-flush-fork": Violation("C1", "stale-grant"),
    "mask-early": Violation("C1", "stale-grant"),
}
"""Name of each planted bug, and the violation that identifies it."""


def run_toy(scenario: Scenario, fault: str) -> Violation | None:
    """The first violation of `scenario` under `fault`; None when every outcome is legal.

    Deterministic, total over canonical scenarios, and at most MAX_STEPS steps long.
    """
    toy = _Toy(scenario.header, fault)
    try:
        for record in scenario.records:
            toy.execute(record)
        toy.finish()
    except _IllegalError as illegal:
        return illegal.violation
    return None


def shows(fault: str) -> Callable[[Scenario], bool]:
    """The predicate that pins rule and reason: true iff `fault` shows exactly its violation."""
    wanted = FAULTS[fault]
    return lambda scenario: run_toy(scenario, fault) == wanted


def failing_inputs(fault: str, *, count: int, records: int = 32, seed: int = 0) -> list[Scenario]:
    """`count` random scenarios of `records` records that show `fault`, the same for each `seed`."""
    draw = random.Random(f"{fault}/{seed}")
    interesting = shows(fault)
    found: list[Scenario] = []
    while len(found) < count:
        scenario = random_scenario(draw, records)
        if interesting(scenario):
            found.append(scenario)
    return found


class _Toy:
    """One run: all state of the machine, the kernel and the oracle."""

    def __init__(self, header: Header, fault: str) -> None:
        self.fault = fault
        self.batch = header.batch
        self.shared = header.layout in _SHARED_LAYOUTS
        self.prot = [_LAYOUT_PROT[header.layout]] * header.pages
        self.pte: list[Pte | None] = [None] * header.pages
        self.tlb: list[dict[int, Pte]] = [{} for _ in range(header.cpus)]
        self.lazy = [False] * header.cpus
        self.missed = [False] * header.cpus
        self.todo: list[list[Step]] = [[] for _ in range(header.cpus)]
        self.used: set[int] = set()
        self.lock_owner = -1
        self.next_frame = 1
        self.dead: set[int] = set()
        self.history: list[list[Pte | None]] = [[None] for _ in range(header.pages)]
        self.floor = [[0] * 8 for _ in range(header.pages)]
        # The operation in flight on each CPU: pages to invalidate, frames to free, closing floors.
        self.pending: list[set[int]] = [set() for _ in range(header.cpus)]
        self.frames: list[list[int]] = [[] for _ in range(header.cpus)]
        self.closing: list[list[tuple[int, int, int]]] = [[] for _ in range(header.cpus)]
        self.targets: list[set[int]] = [set() for _ in range(header.cpus)]
        self.steps = 0

    # The scheduler.

    def execute(self, record: Record) -> None:
        kind, cpu, run, page, count, arg = record
        if kind == kinds.FILL:
            self._fill(cpu, page)
            return
        if kind == kinds.EVICT:
            self.tlb[cpu].pop(page, None)
            return
        if kind != kinds.RUN:
            self._advance(cpu, 0)
            if self.todo[cpu]:
                return
            self.todo[cpu] = self._plan(kind, cpu, range(page, page + count), arg)
        self._advance(cpu, run)

    def finish(self) -> None:
        """Every operation in flight returns; a CPU blocked on a lock waits for its holder."""
        for _ in self.todo:
            for cpu in range(len(self.todo)):
                self._advance(cpu, 0)

    def _advance(self, cpu: int, run: int) -> None:
        todo = self.todo[cpu]
        left = run if 0 < run < kinds.FIRST_POINT else MAX_STEPS
        while todo and left:
            name, action, args = todo[0]
            if run >= kinds.FIRST_POINT and kinds.POINTS[run - kinds.FIRST_POINT] == name:
                return
            if action(cpu, *args) is False:
                return
            todo.remove((name, action, args))
            left -= 1
            self.steps += 1
            if self.steps > MAX_STEPS:
                todo.clear()

    def _plan(self, kind: int, cpu: int, pages: range, arg: int) -> list[Step]:
        if kind in _ACCESS_BIT:
            return [("check", self._access, (pages.start, _ACCESS_BIT[kind]))]
        if kind == kinds.LAZY:
            return [("switch", self._go_lazy, ())]
        if kind == kinds.SWITCH:
            return [("switch", self._go_active, ())]
        if kind in (kinds.MPROTECT, kinds.MUNMAP, kinds.DONTNEED, kinds.FORK, kinds.UFFD_WP):
            if kind == kinds.FORK:
                pages = range(len(self.pte))
            changes: list[Step] = [("change", self._change, (kind, page, arg)) for page in pages]
            flush = self._flush_steps(cpu)
            early = {"early-flush": kinds.MPROTECT, "early-flush-fork": kinds.FORK}
            if early.get(self.fault) == kind:
                record: list[Step] = [("commit", self._gather_all, tuple(pages))]
                middle = record + flush + changes
            elif self.fault == "drop-last":
                middle = [*changes, ("commit", self._drop, (pages[-1], len(pages))), *flush]
            else:
                middle = changes + flush
            free: list[Step] = [("free", self._free, ())]
            if self.fault == "free-early":
                middle = changes + free + flush
            return [
                ("lock", self._lock, (len(pages),)),
                *middle,
                *free,
                ("return", self._close, ()),
            ]
        if kind in (kinds.RECLAIM, kinds.MIGRATE):
            change: Step = ("change", self._change, (kinds.DONTNEED, pages.start, 1))
            return [
                change,
                *self._flush_steps(cpu),
                ("free", self._free, ()),
                ("return", self._close, ()),
            ]
        return []

    def _flush_steps(self, cpu: int) -> list[Step]:
        others = [other for other in range(len(self.tlb)) if other != cpu]
        acks: list[Step] = [("ack", self._ack, (other,)) for other in others]
        return [("flush", self._flush, ()), *acks]

    # Steps of operations. A step that returns False is blocked and is tried again later.

    def _lock(self, cpu: int, _pages: int) -> bool:
        if self.lock_owner not in (-1, cpu):
            return False
        self.lock_owner = cpu
        if self.fault == "mask-early":
            self.targets[cpu] = set(self.used)
        return True

    def _change(self, cpu: int, kind: int, page: int, arg: int) -> None:
        old = self.pte[page]
        new: Pte | None = None
        if kind == kinds.MPROTECT:
            denied = self.prot[page] & ~arg
            self.prot[page] = arg
            if old is not None:
                new = Pte(old.frame, old.perms & arg) if old.perms & arg else None
        elif kind in (kinds.FORK, kinds.UFFD_WP):
            denied = W
            if old is not None:
                new = Pte(old.frame, old.perms & ~W)
        else:
            denied = 0 if arg and kind == kinds.DONTNEED else RW | X
            if kind == kinds.MUNMAP:
                self.prot[page] = 0
        if new != old:
            self.pte[page] = new
            self.history[page].append(new)
            if old is not None and new is None and old.frame != ZERO_FRAME:
                self.frames[cpu].append(old.frame)
        self.closing[cpu].append((page, denied, len(self.history[page]) - 1))
        if new == old and not (old is None and self.fault != "skip-absent"):
            return
        if self.fault == "skip-demotion" and kind == kinds.MPROTECT and new is not None:
            return
        pending = self.pending[cpu]
        if self.fault == "lose-batch" and len(pending) == self.batch + 1:
            pending.clear()
        pending.add(page)

    def _gather_all(self, cpu: int, *pages: int) -> None:
        self.pending[cpu].update(pages)

    def _drop(self, cpu: int, page: int, pages: int) -> None:
        if pages > 1:
            self.pending[cpu].discard(page)

    def _flush(self, cpu: int) -> None:
        if self.fault != "mask-early" or self.lock_owner != cpu:
            self.targets[cpu] = set(range(len(self.tlb)))
        self._invalidate(cpu, cpu)

    def _ack(self, cpu: int, other: int) -> None:
        if self.lazy[other]:
            self.missed[other] = True
        elif other in self.targets[cpu]:
            self._invalidate(cpu, other)

    def _invalidate(self, cpu: int, other: int) -> None:
        for page in self.pending[cpu]:
            self.tlb[other].pop(page, None)

    def _free(self, cpu: int) -> None:
        self.dead.update(self.frames[cpu])
        self.frames[cpu].clear()

    def _close(self, cpu: int) -> None:
        for page, denied, index in self.closing[cpu]:
            floor = self.floor[page]
            for bit in (R, W, X):
                if denied & bit:
                    floor[bit] = max(floor[bit], index)
        self.closing[cpu].clear()
        self.pending[cpu].clear()
        if self.lock_owner == cpu:
            self.lock_owner = -1

    def _go_lazy(self, cpu: int) -> None:
        self.lazy[cpu] = True

    def _go_active(self, cpu: int) -> None:
        if self.missed[cpu] and self.fault != "skip-lazy":
            self.tlb[cpu].clear()
        self.lazy[cpu] = self.missed[cpu] = False

    # Hardware, the fault handler and the oracle.

    def _fill(self, cpu: int, page: int) -> None:
        pte = self.pte[page]
        if pte is not None and not self.lazy[cpu]:
            self.tlb[cpu][page] = pte

    def _access(self, cpu: int, page: int, bit: int) -> None:
        if self.lazy[cpu]:
            return
        self.used.add(cpu)
        entry = self.tlb[cpu].get(page)
        if entry is None or not entry.perms & bit:
            self._fill(cpu, page)
            entry = self.pte[page]
        if entry is not None and entry.perms & bit:
            self._judge(page, bit, entry)
        elif self.prot[page] & bit:
            again: list[Step] = [
                ("fault", self._fault, ()),
                ("install", self._install, (page, bit)),
                ("check", self._access, (page, bit)),
            ]
            self.todo[cpu][1:1] = again

    def _fault(self, cpu: int) -> bool:
        return self.lock_owner in (-1, cpu)

    def _install(self, cpu: int, page: int, bit: int) -> None:
        old, prot = self.pte[page], self.prot[page]
        if not prot & bit:
            self.todo[cpu][1:] = []
            return
        if bit == W or self.shared:
            new = Pte(self.next_frame, prot)
            self.next_frame += 1
        else:
            new = Pte(ZERO_FRAME, prot & ~W)
        if old is not None and (old.frame != ZERO_FRAME or bit != W):
            new = Pte(old.frame, prot)
        self.pte[page] = new
        self.history[page].append(new)
        self.tlb[cpu].pop(page, None)
        # A copied page's old frame must not be used again: the handler flushes every CPU.
        for tlb in self.tlb:
            tlb.pop(page, None)

    def _judge(self, page: int, bit: int, entry: Pte) -> None:
        if entry.frame in self.dead:
            raise _IllegalError(Violation("C3", "dead-frame"))
        allowed = self.history[page][self.floor[page][bit] :]
        if not any(v is not None and v.frame == entry.frame and v.perms & bit for v in allowed):
            raise _IllegalError(Violation("C1", "stale-grant"))


_ACCESS_BIT: Final = {kinds.READ: R, kinds.WRITE: W, kinds.EXEC: X}
