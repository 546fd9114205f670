"""Runs a scenario under a tracer, which changes nothing in the run.

Three parts report to the Trace: an Oracle that passes on its events, the step engine, whose Watch the Trace is, and the
executor, which reports the end of each record.
"""

from typing import Final, cast

from shootdown.evidence.skip import skip_slug
from shootdown.evidence.trace import Trace
from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.machine.geometry import PAGES
from shootdown.machine.x86 import Machine
from shootdown.mm import flags
from shootdown.mm.observer import Observer
from shootdown.mm.world import FlushStrategy, World
from shootdown.run.execute import Outcome, execute
from shootdown.run.oracle import Oracle
from shootdown.scenario import Scenario

_ACCESS_WORDS: Final = {READ: "loads {} from", WRITE: "stores {} to", EXEC: "fetches from"}


class TracingOracle(Oracle):
    """Judges as Oracle does, and informs its trace first."""

    __slots__ = ("trace",)

    def attach(self, w: World) -> None:
        """Begin to trace a world that has not run yet."""
        super().attach(w)
        self.trace = Trace(w)
        w.watch = self.trace

    def region(self, cpu: int, mm: int, page: int, rights: int) -> None:
        """Report how the region changes."""
        old = self.region_rights[mm * PAGES + page]
        super().region(cpu, mm, page, rights)
        change = f"{flags.region_text(old)} -> {flags.region_text(rights)}"
        self.trace.says(f"region {flags.space(mm)}", range(page, page + 1), change)

    def commit(self, mm: int, page: int, entry: int) -> None:
        """Note who stores the version."""
        self.trace.authors[mm * PAGES + page].append(self.trace.now())
        super().commit(mm, page, entry)

    def close(self, cpu: int) -> None:
        """Report that the operation has promised something, if it has."""
        if any(deny for _, _, deny in self.visits[cpu]):
            self.trace.says("its promises hold from here")
        super().close(cpu)

    def access(self, cpu: int, page: int, kind: int, incarnation: int, value: int) -> None:
        """Report what the access did."""
        verb = _ACCESS_WORDS[kind].format(value)
        self.trace.says(f"{verb} {flags.incarnation(incarnation)}")
        super().access(cpu, page, kind, incarnation, value)

    def denied(self, cpu: int, page: int, kind: int, rights: int) -> None:
        """Report that the program gets a signal."""
        code = "MAPERR" if rights < 0 else "ACCERR"
        self.trace.says(f"SIGSEGV ({code}) is delivered")
        super().denied(cpu, page, kind, rights)

    def trapped(self, cpu: int, page: int) -> None:
        """Report that userfaultfd gets the event."""
        self.trace.says("userfaultfd is told of a write")
        super().trapped(cpu, page)

    def freed(self, frame: int) -> None:
        """Report which incarnation ends."""
        self.trace.says(f"frees {flags.incarnation(self.generation[frame] << 6 | frame)}")
        super().freed(frame)

    def table_freed(self, mm: int, index: int, frame: int) -> None:
        """Report which page table is freed."""
        self.trace.says(f"frees page table f{frame}")
        super().table_freed(mm, index, frame)

    def discarded(self, mm: int, page: int, frame: int) -> None:
        """Report which frame is dropped."""
        self.trace.says(f"drops f{frame} without write-back")
        super().discarded(mm, page, frame)

    def swapped_out(self, frame: int, slot: int) -> None:
        """Report where the content is now."""
        self.trace.says(f"f{frame} is in swap slot s{slot} alone")
        super().swapped_out(frame, slot)

    def swapped_in(self, slot: int, frame: int) -> None:
        """Report that the content was read in."""
        self.trace.says(f"swap slot s{slot} read into f{frame}")
        super().swapped_in(slot, frame)

    def merged(self, mm: int, page: int, old: int, new: int) -> None:
        """Report which frame stays."""
        self.trace.says(f"f{old} merged into f{new}")
        super().merged(mm, page, old, new)

    def object_copied(self, mm: int, old: int, new: int) -> None:
        """Report that the content has moved."""
        self.trace.says(f"f{old} copied to f{new}")
        super().object_copied(mm, old, new)

    def skipped(self, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        """Report which change is left unflushed."""
        slug = skip_slug(self.world.op[cpu], old, new).partition(":")[2]
        self.trace.says(f"no flush for {flags.space(mm)}", range(page, page + 1), f"({slug})")
        super().skipped(cpu, mm, page, old, new)


def trace_run(
    scenario: Scenario, strategy: FlushStrategy, machine_type: type[Machine] = Machine
) -> tuple[Outcome, Trace]:
    """Run a scenario as run.execute does, and return its outcome together with what it did."""
    outcome = execute(
        scenario,
        strategy.watched(),
        oracle_type=TracingOracle,
        machine_type=machine_type,
        applied=lambda oracle, record: _trace_of(oracle).record_applied(record),
    )
    trace = _trace_of(outcome.oracle)
    trace.ended(outcome.violation)
    return outcome, trace


def _trace_of(observer: Observer) -> Trace:
    return cast("TracingOracle", observer).trace
