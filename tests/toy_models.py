"""A miniature of the project with planted bugs, for the tests of the minimizer alone.

One address space, one entry a page, operations as lists of named steps. It shares no code with the
real models and keeps only what makes minimizing hard: pauses between steps, a lock that blocks,
batches, lazy CPUs, freed frames, and records that are noise.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from shootdown.fuzz.inputs.generate import random_record, random_scenario
from shootdown.scenario import Header, Record, Scenario, decode, encode, kinds, parse

R, W, X = kinds.PROT_READ, kinds.PROT_WRITE, kinds.PROT_EXEC
_ACCESS: Final = {kinds.READ: R, kinds.WRITE: W, kinds.EXEC: X}
_LAYOUT: Final = {
    "private": R | W,
    "empty": 0,
    "shared": R | W,
    "huge": R | W,
    "readonly": R,
    "file": R | W,
    "pfnmap": R | W,
}
_LOCKED: Final = (kinds.MPROTECT, kinds.MUNMAP, kinds.DONTNEED, kinds.FORK, kinds.UFFD_WP)
_UNLOCKED: Final = (kinds.RECLAIM, kinds.MIGRATE)
_ZERO_FRAME: Final = 0


class Entry(NamedTuple):
    """A translation: the frame that it leads to and the accesses that it grants."""

    frame: int
    rights: int


class Violation(NamedTuple):
    """A violation that the toy's oracle reports."""

    rule: str
    reason: str


STALE: Final = Violation("C1", "stale-grant")
DEAD: Final = Violation("C3", "dead-frame")

FAULTS: Final = {
    "skip-demotion": STALE,  # mprotect that leaves some right flushes nothing
    "skip-absent": STALE,  # an operation that finds an entry cleared does not flush for it
    "drop-last": STALE,  # the last page of a range is not flushed
    "lose-batch": STALE,  # a full batch forgets what was in it
    "free-early": DEAD,  # frames are freed before the flush
    "skip-lazy": STALE,  # a CPU that leaves lazy mode does not catch up
    "early-flush": STALE,  # mprotect and fork flush before they change anything
    "mask-early": STALE,  # the CPUs to flush are noted before the change
}
"""Each planted bug, and the rule and reason that catch it."""

# For bugs that random scenarios show too rarely for a test: one way to show them.
_STORIES: Final = {
    "free-early": """
        cpu2 write p1
        cpu1 munmap p0-p1 until flush
        cpu2 write p1""",
    "skip-absent": """
        cpu1 write p1
        cpu0 dontneed p1
        cpu1 write p1
        cpu0 reclaim p1 mm0 until flush
        cpu1 munmap p0-p1
        cpu1 read p1""",
    "skip-lazy": """
        cpu1 write p0
        cpu1 lazy
        cpu0 mprotect p0-p1 r
        cpu1 switch mm0
        cpu1 write p0""",
    "early-flush": """
        cpu1 write p0
        cpu1 fork until change
        cpu0 read p0
        cpu1 run
        cpu0 write p0""",
    "mask-early": """
        cpu0 write p1
        cpu0 mprotect p1 r until change
        cpu1 read p1
        cpu0 run
        cpu1 write p1""",
}


def run_toy(scenario: Scenario, *faults: str) -> Violation | None:
    """Return the first violation of a scenario under some faults; None when every outcome is legal.

    This is a pure function; without faults it returns None.
    """
    toy = _Toy(scenario.header, faults)
    try:
        for record in scenario.records:
            toy.execute(record)
        toy.finish()
    except _IllegalError as illegal:
        return illegal.violation
    return None


def shows(fault: str, *others: str) -> Callable[[Scenario], bool]:
    """Return the predicate for `fault` by its rule and reason, in a toy that has other faults as well."""
    return lambda scenario: run_toy(scenario, fault, *others) == FAULTS[fault]


def failing_inputs(fault: str, count: int, *others: str) -> Iterator[Scenario]:
    """Yield that many scenarios of 32 records that show a fault; the same ones each time."""
    draw = random.Random(fault)
    interesting = shows(fault, *others)
    while count:
        scenario = _noisy(fault, draw) if fault in _STORIES else random_scenario(draw, 32)
        if interesting(scenario):
            count -= 1
            yield scenario


def story(records: str, *, cpus: int = 3, pages: int = 3, layout: str = "private") -> Scenario:
    """Return the scenario with these records as text."""
    header = f"shootdown-scenario 1\ncpus {cpus}\npages {pages}\nlayout {layout}\n"
    return parse(header + records).scenario


def _noisy(fault: str, draw: random.Random) -> Scenario:
    """Return the story of a fault among random records that do not hide it, 32 in all."""
    records = encode(story(_STORIES[fault]))
    interesting = shows(fault)
    while len(records) < 4 * 33:
        at = 4 * draw.randint(1, len(records) // 4)
        noisy = records[:at] + random_record(draw) + records[at:]
        if interesting(decode(noisy)):
            records = noisy
    return decode(records)


class _IllegalError(Exception):
    def __init__(self, violation: Violation) -> None:
        super().__init__(violation)
        self.violation = violation


# A step: its name, what it does (False: blocked, try again later), and the arguments of that.
_Step: TypeAlias = tuple[str, Callable[..., bool | None], tuple[int, ...]]


class _Toy:
    """One run: the machine, the kernel and the oracle."""

    def __init__(self, header: Header, faults: tuple[str, ...]) -> None:
        cpus, pages = range(header.cpus), range(header.pages)
        layout = kinds.LAYOUTS[header.layout]
        self.faults = faults
        self.batch = header.batch
        self.shared = layout in ("shared", "huge")
        self.rights = [_LAYOUT[layout] for _ in pages]
        self.entries: list[Entry | None] = [None for _ in pages]
        self.history: list[list[Entry | None]] = [[None] for _ in pages]
        self.floor = [dict.fromkeys((R, W, X), 0) for _ in pages]
        self.tlb: list[dict[int, Entry]] = [{} for _ in cpus]
        self.lazy = [False for _ in cpus]
        self.missed = [False for _ in cpus]
        self.steps: list[list[_Step]] = [[] for _ in cpus]
        self.owner: int | None = None
        self.frames = 0
        self.dead: set[int] = set()
        self.used: set[int] = set()
        # For the operation in flight on each CPU: what it has to flush, where, to free, to promise.
        self.gather: list[set[int]] = [set() for _ in cpus]
        self.mask: list[set[int]] = [set() for _ in cpus]
        self.queue: list[set[int]] = [set() for _ in cpus]
        self.denied: list[list[tuple[int, int, int]]] = [[] for _ in cpus]

    def execute(self, record: Record) -> None:
        kind, cpu, run, page, count, arg = record
        if kind == kinds.FILL:
            self.fill(cpu, page)
        elif kind == kinds.EVICT:
            self.tlb[cpu].pop(page, None)
        elif kind == kinds.RUN:
            self.advance(cpu, run)
        else:
            self.advance(cpu, 0)
            if not self.steps[cpu]:
                self.steps[cpu] = self.plan(kind, cpu, range(page, page + count), arg)
                self.advance(cpu, run)

    def finish(self) -> None:
        for _ in self.steps:
            for cpu in range(len(self.steps)):
                self.advance(cpu, 0)

    def advance(self, cpu: int, run: int) -> None:
        steps = self.steps[cpu]
        while steps:
            name, action, args = steps[0]
            if run >= kinds.FIRST_POINT and kinds.POINTS[run - kinds.FIRST_POINT] == name:
                return
            if action(cpu, *args) is False:
                return
            steps.pop(0)
            if run < kinds.FIRST_POINT and run:
                run -= 1
                if not run:
                    return

    def plan(self, kind: int, cpu: int, pages: range, arg: int) -> list[_Step]:
        if kind in _ACCESS:
            return [("check", self.access, (pages.start, _ACCESS[kind]))]
        if kind in (kinds.LAZY, kinds.SWITCH):
            return [("switch", self.switch, (kind == kinds.LAZY,))]
        if kind not in _LOCKED + _UNLOCKED:
            return []
        if kind == kinds.FORK:
            pages = range(len(self.entries))
        locks: list[_Step] = [("lock", self.lock, ())] if kind in _LOCKED else []
        changes: list[_Step] = [("change", self.change, (kind, page, arg)) for page in pages]
        if "drop-last" in self.faults and len(pages) > 1:
            changes.append(("commit", self.drop, (pages[-1],)))
        flush: list[_Step] = [("flush", self.flush, (cpu,))]
        flush += [("ack", self.flush, (other,)) for other in range(len(self.tlb)) if other != cpu]
        free: list[_Step] = [("free", self.free, ())]
        if "early-flush" in self.faults and kind in (kinds.MPROTECT, kinds.FORK):
            gather: _Step = ("commit", self.gather_all, tuple(pages))
            middle = [gather, *flush, *changes, *free]
        elif "free-early" in self.faults:
            middle = [*changes, *free, *flush]
        else:
            middle = [*changes, *flush, *free]
        return [*locks, *middle, ("return", self.close, ())]

    def lock(self, cpu: int) -> bool:
        if self.owner not in {None, cpu}:
            return False
        self.owner = cpu
        self.mask[cpu] = set(self.used)
        return True

    def change(self, cpu: int, kind: int, page: int, arg: int) -> None:
        old = self.entries[page]
        left = {kinds.MPROTECT: arg, kinds.FORK: R | X, kinds.UFFD_WP: R | X}.get(kind, 0)
        promised = 0 if kind in _UNLOCKED else (R | W | X) & ~left
        if kind in (kinds.MPROTECT, kinds.MUNMAP):
            promised &= self.rights[page]
            self.rights[page] = left
        new = Entry(old.frame, old.rights & left) if old and old.rights & left else None
        if new != old:
            self.set_entry(page, new)
            if old and not new and old.frame != _ZERO_FRAME:
                self.queue[cpu].add(old.frame)
        self.denied[cpu].append((page, promised, len(self.history[page]) - 1))
        absent = old is None and "skip-absent" in self.faults
        if absent or (kind == kinds.MPROTECT and new and "skip-demotion" in self.faults):
            return
        if "lose-batch" in self.faults and len(self.gather[cpu]) > self.batch:
            self.gather[cpu].clear()
        self.gather[cpu].add(page)

    def gather_all(self, cpu: int, *pages: int) -> None:
        self.gather[cpu].update(pages)

    def drop(self, cpu: int, page: int) -> None:
        self.gather[cpu].discard(page)

    def flush(self, cpu: int, target: int) -> None:
        if self.lazy[target]:
            self.missed[target] = True
        elif "mask-early" not in self.faults or cpu == target or target in self.mask[cpu]:
            for page in self.gather[cpu]:
                self.tlb[target].pop(page, None)

    def free(self, cpu: int) -> None:
        self.dead |= self.queue[cpu]
        self.queue[cpu].clear()

    def close(self, cpu: int) -> None:
        for page, denied, index in self.denied[cpu]:
            for right, floor in self.floor[page].items():
                if denied & right:
                    self.floor[page][right] = max(floor, index)
        self.denied[cpu].clear()
        self.gather[cpu].clear()
        self.owner = None if self.owner == cpu else self.owner

    def switch(self, cpu: int, lazy: int) -> None:
        self.lazy[cpu] = bool(lazy)
        if not lazy:
            if self.missed[cpu] and "skip-lazy" not in self.faults:
                self.tlb[cpu].clear()
            self.missed[cpu] = False

    def fill(self, cpu: int, page: int) -> None:
        entry = self.entries[page]
        if entry and not self.lazy[cpu]:
            self.tlb[cpu][page] = entry

    def access(self, cpu: int, page: int, right: int) -> None:
        if self.lazy[cpu]:
            return
        self.used.add(cpu)
        if not self.tlb[cpu].get(page, Entry(0, 0)).rights & right:
            self.fill(cpu, page)
        entry = self.tlb[cpu].get(page, Entry(0, 0))
        if entry.rights & right:
            self.judge(page, right, entry)
        elif self.rights[page] & right:
            self.steps[cpu][1:1] = [
                ("fault", self.fault, ()),
                ("install", self.install, (page, right)),
                ("check", self.access, (page, right)),
            ]

    def fault(self, cpu: int) -> bool:
        return self.owner in {None, cpu}

    def install(self, cpu: int, page: int, right: int) -> None:
        old, rights = self.entries[page], self.rights[page]
        if not rights & right:
            self.steps[cpu][1:] = []
            return
        if old and (old.frame != _ZERO_FRAME or right != W):
            self.set_entry(page, Entry(old.frame, rights))
        elif right == W or self.shared:
            self.frames += 1
            self.set_entry(page, Entry(self.frames, rights))
        else:
            self.set_entry(page, Entry(_ZERO_FRAME, rights & ~W))
        # The handler flushes: a page that was copied must not be read through its old entry.
        for tlb in self.tlb:
            tlb.pop(page, None)

    def set_entry(self, page: int, entry: Entry | None) -> None:
        self.entries[page] = entry
        self.history[page].append(entry)

    def judge(self, page: int, right: int, entry: Entry) -> None:
        if entry.frame in self.dead:
            raise _IllegalError(DEAD)
        current = self.history[page][self.floor[page][right] :]
        if not any(e and e.frame == entry.frame and e.rights & right for e in current):
            raise _IllegalError(STALE)
