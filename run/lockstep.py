"""Lockstep: two flush strategies execute the same operations, each one to completion, and must show the same.

No access falls into the window of another operation, so the correctness rules allow one outcome for each access; if two
outcomes differ, one is wrong (correctness.md section 4). A mistake in the memory manager, which both sides share,
becomes visible as well: the contract of the calls (C7) is independent of it, and judges both. A mistake in the machine
stays invisible here.
"""

from typing import Final, NamedTuple, TypeAlias, cast

from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.machine.geometry import PAGES
from shootdown.mm.world import FlushStrategy, World
from shootdown.optimized.policy import Policy
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import execute
from shootdown.run.oracle import Oracle
from shootdown.scenario import Scenario
from shootdown.scenario.kinds import RUN
from shootdown.scenario.verdict import LEGAL, REASONS

ACCESS: Final = "access"
MAPERR: Final = "MAPERR"
ACCERR: Final = "ACCERR"
USERFAULTFD: Final = "userfaultfd"
_KINDS: Final = {READ: "read", WRITE: "write", EXEC: "fetch", 0: "-"}

Shown: TypeAlias = tuple[str, int, int, int, int]
"""One outcome: a word, CPU, page, kind of access, and the value loaded or stored (0 without an access).

The word is ACCESS, the code of the signal that was delivered instead (MAPERR, ACCERR), USERFAULTFD, or, after all
others, the reason why the run was not legal.
"""


class Recorder(Oracle):
    """An oracle that also keeps what the program was shown, in order, including the outcome that the oracle rejects."""

    __slots__ = ("shown",)

    def attach(self, w: World) -> None:
        """Begin to observe a world that has not run yet."""
        super().attach(w)
        self.shown: list[Shown] = []

    def access(self, cpu: int, page: int, kind: int, incarnation: int, value: int) -> None:
        """Keep a user access that succeeded."""
        self.shown.append((ACCESS, cpu, page, kind, value))
        super().access(cpu, page, kind, incarnation, value)

    def denied(self, cpu: int, page: int, kind: int, rights: int) -> None:
        """Keep a fault that was delivered to the program."""
        self.shown.append((MAPERR if rights < 0 else ACCERR, cpu, page, kind, 0))
        super().denied(cpu, page, kind, rights)

    def trapped(self, cpu: int, page: int) -> None:
        """Keep a write that was reported to userfaultfd."""
        self.shown.append((USERFAULTFD, cpu, page, WRITE, 0))
        super().trapped(cpu, page)


class Difference(NamedTuple):
    """The first outcome in which two runs differ; None for the run that showed nothing more.

    If both sides have the same reason, it is why the calls do not allow what either shows.
    """

    position: int
    left: Shown | None
    right: Shown | None


def in_lockstep(scenario: Scenario) -> Scenario:
    """Return the scenario with every operation run to completion where it starts."""
    return Scenario(
        scenario.header,
        tuple(
            (kind, cpu, 0, page, count, arg)
            for kind, cpu, _, page, count, arg in scenario.records
            if kind != RUN
        ),
    )


def outcomes(scenario: Scenario, strategy: FlushStrategy) -> list[Shown]:
    """Return what the program is shown when the scenario's operations run in lockstep."""
    outcome = execute(in_lockstep(scenario), strategy, oracle_type=Recorder)
    shown = cast("Recorder", outcome.oracle).shown
    if outcome.verdict != LEGAL:
        violation = outcome.violation
        where = (
            (violation.cpu, violation.slot % PAGES, violation.kind) if violation else (-1, -1, 0)
        )
        shown.append((outcome.reason, *where, 0))
    return shown


def compare(scenario: Scenario, left: FlushStrategy, right: FlushStrategy) -> Difference | None:
    """Return the first outcome that differs when both strategies run the scenario in lockstep, or that no rule allows;
    None when there is none.
    """
    ours, theirs = outcomes(scenario, left), outcomes(scenario, right)
    for position in range(max(len(ours), len(theirs))):
        one = ours[position] if position < len(ours) else None
        other = theirs[position] if position < len(theirs) else None
        if one != other or (one is not None and one[0] in REASONS):
            return Difference(position, one, other)
    return None


def reference_for(policy: Policy) -> EagerFlush:
    """Return the reference with the policy's own fault handler, because only the flushing is compared."""
    reference = EagerFlush()
    reference.handler = policy.handler
    return reference


def words_of(shown: Shown | None) -> str:
    """Return an outcome as `cpu0 p1 read access 3`."""
    if shown is None:
        return "nothing more"
    word, cpu, page, kind, value = shown
    where = f"cpu{cpu} p{page} {_KINDS[kind]}" if cpu >= 0 else ""
    return " ".join(filter(None, (where, word, str(value) if word == ACCESS else "")))
