"""A booted world that a test drives operation by operation or step by step, by the names of the steps."""

from collections.abc import Callable
from typing import Any

from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.operations import BY_NAME, begin
from shootdown.mm.state import State, Step
from shootdown.mm.step import NAMES, run_steps
from shootdown.mm.tables import pmd_of, pte_of
from shootdown.mm.watch import Watch
from shootdown.mm.world import FlushStrategy, World
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.state import X86State
from shootdown.run.execute import boot, finish
from shootdown.run.lockstep import ACCESS, Recorder
from shootdown.scenario import Header, kinds

R, W, X = READ, WRITE, EXEC
NUMBERS = {kind.name: number for number, kind in enumerate(kinds.KINDS)}

FLUSH = ("flush_tlb_mm_range", "flush_tlb_func", "flush_tlb_func")
"""The steps of a flush that two CPUs carry out, including the one that asks for it."""
BATCHED_FLUSH = ("arch_tlbbatch_flush", "flush_tlb_func, batch", "flush_tlb_func, batch")
"""The same for a flush that reclaim or migration has deferred."""


class Journal(Recorder):
    """An oracle that also keeps what the memory manager reports, in order.

    `visited` is (CPU, mm, page, denied kinds), all kinds where a zap found nothing; `skipped_changes` is
    (mm, page, old, new).
    """

    def attach(self, w: World) -> None:
        """Begin with empty lists."""
        super().attach(w)
        self.freed_frames: list[int] = []
        self.freed_tables: list[int] = []
        self.discarded_frames: list[int] = []
        self.visited: list[tuple[int, int, int, int]] = []
        self.skipped_changes: list[tuple[int, int, int, int]] = []

    def visit(self, cpu: int, mm: int, page: int, deny: int) -> None:
        """Keep a visit."""
        self.visited.append((cpu, mm, page, deny))
        super().visit(cpu, mm, page, deny)

    def found_unmapped(self, cpu: int, mm: int, page: int) -> None:
        """Keep the event as a visit that denies everything."""
        self.visited.append((cpu, mm, page, R | W | X))
        super().found_unmapped(cpu, mm, page)

    def freed(self, frame: int) -> None:
        """Keep a page's frame that is about to be free."""
        self.freed_frames.append(frame)
        super().freed(frame)

    def table_freed(self, mm: int, index: int, frame: int) -> None:
        """Keep a page table's frame that is about to be free."""
        self.freed_tables.append(frame)
        super().table_freed(mm, index, frame)

    def discarded(self, mm: int, page: int, frame: int) -> None:
        """Keep a frame that is dropped without write-back."""
        self.discarded_frames.append(frame)
        super().discarded(mm, page, frame)

    def skipped(self, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        """Keep a change that the strategy did not flush."""
        self.skipped_changes.append((mm, page, old, new))
        super().skipped(cpu, mm, page, old, new)


class Told(Watch):
    """Calls a function after each step."""

    def __init__(self, function: Callable[[State, int, Step], object]) -> None:
        self.function = function

    def executed(self, w: State, cpu: int, current: Step) -> None:
        """Pass the step on."""
        self.function(w, cpu, current)


class Kernel:
    """A world under the newest Linux rule unless another strategy is named; its journal judges the run as well."""

    def __init__(
        self,
        policy: str | FlushStrategy = "linux",
        *,
        cpus: int = 2,
        pages: int = 4,
        layout: str = "private",
        asids: int = 2,
        batch: int = 4,
        machine: int = 0,
    ) -> None:
        strategy = REGISTRY[policy].make() if isinstance(policy, str) else policy
        header = Header(cpus, pages, kinds.LAYOUTS.index(layout), machine, asids, batch)
        self.w, journal = boot(header, strategy, Journal)
        assert isinstance(journal, Journal)
        self.journal = journal
        self.names: list[list[str]] = [[] for _ in range(cpus)]
        self.w.watch = Told(self._note)

    def _note(self, _w: State, cpu: int, s: Step) -> None:
        self.names[cpu].append(NAMES[s[0]])

    # Driving a CPU.

    def start(
        self,
        cpu: int,
        name: str,
        page: int = 0,
        count: int = 1,
        arg: int = 0,
        *,
        until: str = "",
        past: str = "",
    ) -> None:
        """Begin an operation on an idle CPU; execute steps only if `until` or `past` names one."""
        assert not self.w.steps[cpu], f"CPU {cpu} is busy before {self.next(cpu)!r}"
        self.names[cpu].clear()
        begin(self.w, cpu, BY_NAME[name], page, count, arg)
        if until:
            self.until(cpu, until)
        if past:
            self.past(cpu, past)

    def run(self, cpu: int, name: str, page: int = 0, count: int = 1, arg: int = 0) -> list[str]:
        """Run an operation to completion and return the names of its steps."""
        self.start(cpu, name, page, count, arg)
        return self.finish(cpu)

    def finish(self, cpu: int) -> list[str]:
        """Run the CPU's operation to its end and return the names of all its steps."""
        finish(self.w, cpu)
        return self.names[cpu]

    def next(self, cpu: int) -> str:
        """Return the name of the step that the CPU executes next, "" when it is idle."""
        stack = self.w.steps[cpu]
        return NAMES[stack[-1][0]] if stack else ""

    def step(self, cpu: int) -> bool:
        """Execute one step; return False when it is blocked."""
        assert self.w.steps[cpu], f"CPU {cpu} is idle"
        return run_steps(self.w, cpu, 1)

    def until(self, cpu: int, name: str) -> None:
        """Run the CPU up to the next step of that name, which it does not execute."""
        while self.next(cpu) != name:
            assert self.step(cpu), f"CPU {cpu} is blocked before {self.next(cpu)!r}"

    def past(self, cpu: int, name: str) -> None:
        """Run the CPU up to the next step of that name, and execute that one too."""
        self.until(cpu, name)
        assert self.step(cpu), f"CPU {cpu} is blocked before {name!r}"

    def waits(self, cpu: int, *, until_end_of: int) -> None:
        """Assert that the CPU is blocked, and no longer blocked after the other one has ended; then both have ended."""
        assert not self.step(cpu), f"CPU {cpu} is not blocked"
        self.finish(until_end_of)
        self.finish(cpu)

    # Accesses.

    def access(self, cpu: int, kind: str, page: int = 0) -> int | str:
        """Run an access and return the value loaded or stored, or the word for what was delivered instead."""
        self.run(cpu, kind, page)
        return self.shown()

    def shown(self) -> int | str:
        """Return the value of the last access, or the word for what was delivered instead."""
        word, _, _, _, value = self.journal.shown[-1]
        return value if word == ACCESS else word

    def read(self, cpu: int, page: int = 0) -> int | str:
        """Run a load."""
        return self.access(cpu, "read", page)

    def write(self, cpu: int, page: int = 0) -> int | str:
        """Run a store; the values of stores are 1, 2, 3, ... in their order."""
        return self.access(cpu, "write", page)

    def fetch(self, cpu: int, page: int = 0) -> int | str:
        """Run an instruction fetch."""
        return self.access(cpu, "exec", page)

    # Inspection.

    def pte(self, page: int = 0, mm: int = 0) -> int:
        """Return the page's PTE, 0 without a page table."""
        return pte_of(self.w, mm, page)

    def pmd(self, index: int = 0, mm: int = 0) -> int:
        """Return the entry of the PMD table."""
        return pmd_of(self.w, mm, index)

    def frame(self, page: int = 0, mm: int = 0) -> int:
        """Return the frame that the page's PTE names."""
        return frame_of(self.pte(page, mm))

    def cached(self, cpu: int, page: int = 0) -> bool:
        """Return whether the CPU's TLB translates the page under the PCID that is loaded."""
        tag = self.w.machine.pcid[cpu] << 4
        return not {tag | page, tag | 8 | page // FANOUT}.isdisjoint(self.w.machine.tlb[cpu])

    @property
    def state(self) -> X86State:
        """Return the optimized model's state."""
        state = self.w.flush_state
        assert isinstance(state, X86State)
        return state


def prot(rights: int, kind: int = 0) -> int:
    """Return the argument of mmap for these rights and this kind of mapping."""
    return rights | kind << kinds.MAP_SHIFT


def written(policy: str | FlushStrategy = "linux", **options: Any) -> Kernel:  # noqa: ANN401 (whatever Kernel takes)
    """Return a kernel in which CPU 0 has stored 1 to page 0."""
    k = Kernel(policy, **options)
    k.write(0)
    return k


def cached_twice(policy: str | FlushStrategy = "linux", **options: Any) -> Kernel:  # noqa: ANN401
    """Return a kernel in which CPU 0 has stored 1 to page 0, and CPU 1 has loaded it: both have it cached."""
    k = written(policy, **options)
    k.read(1)
    return k


def two_spaces(asids: int = 2, cpus: int = 2) -> Kernel:
    """Return a parent and a child that share nothing: page 0 is 2 in the parent, 3 in the child."""
    k = Kernel(asids=asids, cpus=cpus)
    k.write(0)
    k.run(0, "fork")
    k.write(0)
    k.run(1, "switch", arg=1)
    k.write(1)
    return k
