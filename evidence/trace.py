"""What a run did, step by step, found by comparing the world before and after each step."""

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeAlias

from shootdown.evidence.pauses import MissedPause, missed_pause
from shootdown.machine.caches import FETCH
from shootdown.machine.entry import DIRTY, PRESENT, PSE
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.machine.x86 import PF_INSTR, PF_PK, PF_PROT, PF_WRITE
from shootdown.mm import flags
from shootdown.mm.fault import fault_enter
from shootdown.mm.state import FLUSHES, IPIS, State, Step
from shootdown.mm.watch import Watch
from shootdown.mm.world import World
from shootdown.optimized.flush_func import flush_ack
from shootdown.reference.history import SLOTS
from shootdown.run.oracle import Violation
from shootdown.scenario import Record

Said: TypeAlias = tuple[str, range, str]
"""The beginning of a sentence, its pages, and what changed for each of them."""
Entries: TypeAlias = dict[tuple[int, int], int]
"""The leaf entry in memory for each address space and page."""


@dataclass(frozen=True, slots=True)
class TracedStep:
    """One step: `time` counts steps from 1, `step` names what ran, `changes` say what it did.

    `record`: the position in the scenario of the operation that the step belongs to, -1 for none.
    `upper`: the changes of paging-structure caches, which matter only where a page table is freed.
    """

    time: int
    cpu: int
    record: int
    step: str
    changes: tuple[str, ...]
    upper: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fill:
    """The history of a TLB entry: its CPU filled it in the operation at `record`, and it was dropped at a time; 0 while
    it exists.
    """

    cpu: int
    key: int
    entry: int
    time: int
    record: int
    dropped: int = 0


class Trace(Watch):
    """What a run did.

    `steps`: the steps in order.
    `running`: the CPU and the step that is being executed.
    `operation_of`: for each CPU, the position in the scenario of its operation in flight, -1 for none.
    `applied`: the position of the record that is being applied.
    `authors`: `authors[slot]` has, for each version, the time and the operation of its commit.
    `decisions`: for each CPU, the time and the words of the last decision of a kernel's own text about it.
    `missed`: the pauses that the scenario asks for and the run has not made.
    """

    def __init__(self, w: World) -> None:
        self.world = w
        self.steps: list[TracedStep] = []
        self.running: tuple[int, Step] | None = None
        self.applied = 0
        self.operation_of: list[int] = [-1] * w.cpus
        self.authors: list[list[tuple[int, int]]] = [[(0, -1)] for _ in range(SLOTS)]
        self.fills: dict[tuple[int, int], Fill] = {}
        self.dropped: list[Fill] = []
        self.missed: list[MissedPause] = []
        self._applied_steps = 0
        self._step = ""
        self.decisions: dict[int, tuple[int, str]] = {}
        self._said: list[Said] = []
        self._entries: Entries = {}
        self._tlb: list[dict[int, int]] = [{} for _ in range(w.cpus)]
        self._upper: list[dict[int, int]] = [{} for _ in range(w.cpus)]
        self._costs = w.costs.copy()

    def says(self, sentence: str, pages: range = range(0), change: str = "") -> None:
        """Add a sentence to the step that is being executed; sentences during boot belong to no step.

        With pages, the sentence is about these, and continues with what changed; neighbours with the same change share
        a sentence.
        """
        if self.running:
            self._said.append((sentence, pages, change))

    def now(self) -> tuple[int, int]:
        """Return the time of the step that is being executed, and its operation."""
        return len(self.steps) + 1, self.operation_of[self.running[0]] if self.running else -1

    def begins(self, cpu: int, current: Step) -> None:
        """Note that the CPU executes the step, and what caused a fault: the run may end in this step."""
        self.running = (cpu, current)
        self._step = self.world.flush.step_name(self.world, cpu, current)
        if self.operation_of[cpu] < 0:
            self.operation_of[cpu] = self.applied
        if current[0] == fault_enter:
            self.says(error_code(current[3]))

    def blocked(self) -> None:
        """Forget the step that has begun: it could not run, and changed nothing."""
        self.running = None
        self._said.clear()

    def said(self, what: str) -> None:
        """Record it among what the step has changed."""
        self.says(what)

    def decided(self, cpu: int, what: str) -> None:
        """Record what the kernel's own text has decided about a CPU."""
        self.decisions[cpu] = (len(self.steps) + 1, what)
        self.says(what)

    def executed(self, w: State, cpu: int, current: Step) -> None:
        """Record what the step changed."""
        if current[0] == flush_ack:
            self.says(f"handled by cpu{current[1]}")
        self._note(cpu, self.operation_of[cpu], self._step)
        self.running = None
        if not w.steps[cpu]:
            self.operation_of[cpu] = -1

    def record_applied(self, record: Record) -> None:
        """Record a pause that the record missed, and what the hardware did by itself, after a record is applied."""
        moved = any(step.cpu == record[1] for step in self.steps[self._applied_steps :])
        missed = missed_pause(self.world, self.applied, record, moved=moved)
        if missed:
            self.missed.append(missed)
        if self.world.steps[record[1]] and self.operation_of[record[1]] < 0:
            # The operation pauses before its first step: the record that starts it later is not the one that it belongs
            # to.
            self.operation_of[record[1]] = self.applied
        machine = self.world.machine
        if machine.tlb != self._tlb or machine.psc != self._upper:
            self._note(record[1], self.applied, "hardware")
        self.applied += 1
        self._applied_steps = len(self.steps)

    def ended(self, violation: Violation | None) -> None:
        """Record the step in which the run ended; if nothing is in flight, record that everything was at rest."""
        if self.running:
            cpu, _ = self.running
            self._note(cpu, self.operation_of[cpu], self._step)
        elif violation:
            time = len(self.steps) + 1
            self.steps.append(TracedStep(time, max(violation.cpu, 0), -1, "all at rest", ()))

    def _note(self, cpu: int, record: int, name: str) -> None:
        w = self.world
        said = merged([*self._said, *self._entry_changes(), *self._tlb_changes(record)])
        costs = [now - before for now, before in zip(w.costs, self._costs, strict=True)]
        if costs[FLUSHES]:
            said.append(f"flush, {costs[IPIS] or 'no'} IPI{'' if costs[IPIS] == 1 else 's'}")
        elif costs[IPIS]:
            said.append(f"{costs[IPIS]} IPI{'' if costs[IPIS] == 1 else 's'}")
        self._said.clear()
        self._costs = w.costs.copy()
        time = len(self.steps) + 1
        self.steps.append(
            TracedStep(time, cpu, record, name, tuple(said), tuple(self._upper_changes()))
        )

    def _entry_changes(self) -> list[Said]:
        before, self._entries = self._entries, leaf_entries(self.world)
        said: list[Said] = []
        for (mm, page), new in self._entries.items():
            old = before.get((mm, page), 0)
            if new != old:
                change = f"{flags.describe_entry(old)} -> {flags.describe_entry(new)}"
                said.append((flags.space(mm), range(page, page + 1), change))
        return said

    def _tlb_changes(self, record: int) -> list[Said]:
        time = len(self.steps) + 1
        said: list[Said] = []
        for cpu, entries in enumerate(self.world.machine.tlb):
            before = self._tlb[cpu]
            for key in sorted({*before, *entries}):
                old, new = before.get(key), entries.get(key)
                if new == old:
                    continue
                fill = self.fills.pop((cpu, key), None)
                if fill and fill.entry | DIRTY == new:
                    self.fills[cpu, key] = replace(fill, entry=new)
                    what = "D set"
                else:
                    if fill:
                        self.dropped.append(replace(fill, dropped=time))
                    if new is None:
                        what = "dropped"
                    else:
                        self.fills[cpu, key] = Fill(cpu, key, new, time, record)
                        what = f"= {flags.describe_tlb(new)}"
                which = "TLB of fetches" if key & FETCH else "TLB"
                said.append((f"{which} of cpu{cpu}: ", pages_of(key), what))
            self._tlb[cpu] = entries.copy()
        return said

    def _upper_changes(self) -> list[str]:
        said: list[Said] = []
        for cpu, entries in enumerate(self.world.machine.psc):
            before = self._upper[cpu]
            for key in sorted({*before, *entries}):
                old, new = before.get(key), entries.get(key)
                if new != old:
                    what = "dropped" if new is None else f"= table f{frame_of(new)}"
                    said.append((f"upper cache of cpu{cpu}: ", pages_of(8 | key & 1), what))
            self._upper[cpu] = entries.copy()
        return merged(said)


def error_code(code: int) -> str:
    """Return the page-fault error code in words."""
    kind = "write" if code & PF_WRITE else "fetch" if code & PF_INSTR else "read"
    if code & PF_PK:
        return f"{kind} denied by a protection key"
    return f"{kind} {'denied by a present entry' if code & PF_PROT else 'of a page not present'}"


def pages_of(key: int) -> range:
    """Return the pages that a TLB entry with the key translates."""
    if key & 8:
        first = (key & 7) * FANOUT
        return range(first, first + FANOUT)
    return range(key & 7, (key & 7) + 1)


def merged(said: list[Said]) -> list[str]:
    """Return one sentence for each run of neighbours that have the same beginning and the same change."""
    sentences: list[str] = []
    for (sentence, change), group in groupby(said, lambda part: (part[0], part[2])):
        pages = [page for _, pages, _ in group for page in pages]
        sentences.append(f"{sentence}{flags.pages_text(pages)} {change}" if pages else sentence)
    return sentences


def leaf_entries(w: World) -> Entries:
    """Return the leaf entry that each page of each live address space has in memory."""
    memory = w.machine.memory
    entries: Entries = {}
    for mm, root in enumerate(w.root):
        if root < 0:
            continue
        for page in range(w.pages):
            upper = memory[root << 2 | page // FANOUT]
            table = upper & PRESENT and not upper & PSE
            entries[mm, page] = memory[frame_of(upper) << 2 | page % FANOUT] if table else upper
    return entries
