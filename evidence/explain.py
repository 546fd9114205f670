"""The explanation of a run: what it did step by step and, if it showed something illegal, all the evidence.

To explain a run, it is repeated under a tracer, so nothing has to be kept while fuzzing.
"""

from dataclasses import asdict, dataclass, replace
from typing import Final

from shootdown.evidence.pauses import MissedPause
from shootdown.evidence.skip import branch_of, guilty_skip
from shootdown.evidence.trace import Fill, Trace, TracedStep, pages_of
from shootdown.evidence.trace_run import trace_run
from shootdown.machine.caches import GLOBAL_TAG, TAG_MASK
from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.machine.tlb_entry import tlb_grants
from shootdown.machine.x86 import Machine
from shootdown.mm import flags
from shootdown.mm.observer import KEY_SHIFT
from shootdown.mm.state import FLUSHES, INVALIDATED, IPIS
from shootdown.optimized.policy import Policy
from shootdown.reference.version import INCARNATION, SEEN, key_of, seen
from shootdown.run.execute import Outcome
from shootdown.run.oracle import Violation
from shootdown.scenario import Scenario, render, render_record
from shootdown.scenario.verdict import REASONS, RULES, UNDECIDED_REASONS

_ACCESS_NAMES: Final = {READ: "read", WRITE: "write", EXEC: "fetch"}
_REVOKED_SHOWN: Final = 4
"""How many versions below the floor a history still shows: a stale entry is one of them."""


@dataclass(frozen=True, slots=True)
class Version:
    """One value that the page had: its number, incarnation (`f3#1`, `absent`), rights, and who stored it when.

    `allowed`: the version is not below the floor, so an access may still see it.
    """

    index: int
    incarnation: str
    rights: str
    time: int
    operation: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class Cached:
    """A TLB entry for the page: what it grants, who filled it when, and when it was dropped (0: still there).

    `compared`: compared with the newest version of the page, the entry is "stale" (it grants what that one does not),
    "tighter" or "current".
    """

    cpu: int
    pages: str
    entry: str
    filled: int
    operation: str
    dropped: int
    compared: str


@dataclass(frozen=True, slots=True)
class OpenOperation:
    """An operation that had not returned: what it was, and the step that it had reached."""

    cpu: int
    operation: str
    step: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that a person wants to know about one run of one scenario under one policy.

    Times are step numbers from 1. The fields from `page` on are empty unless the run was illegal; the rule "cost" is
    about no page.
    `operations`: `operations[i]` is record i of the scenario without CPU and pause.
    `missed_pauses`: the records that were to pause and did not.
    `decided`: the last decision of a kernel's own text about the CPU that breaks the rule, or its failed assertion.
    `skipped_at`: the line of the rule that has decided about the skipped change, of a rule that can tell.
    """

    policy: str
    verdict: str
    rule: str
    reason: str
    meaning: str
    skip: str
    scenario: Scenario
    operations: tuple[str, ...]
    steps: tuple[TracedStep, ...]
    costs: dict[str, int]
    missed_pauses: tuple[MissedPause, ...] = ()
    page: str = ""
    access: str = ""
    decided: str = ""
    skipped_change: str = ""
    skipped_at: str = ""
    history: tuple[Version, ...] = ()
    cached: tuple[Cached, ...] = ()
    open_operations: tuple[OpenOperation, ...] = ()

    def operation(self, record: int) -> str:
        """Return the words of the operation at a position of the scenario, or "" for none."""
        return self.operations[record] if record >= 0 else ""

    def document(self) -> dict[str, object]:
        """Return the same as JSON values."""
        steps = [asdict(step) | {"operation": self.operation(step.record)} for step in self.steps]
        return asdict(self) | {
            "scenario": render(self.scenario),
            "rule_text": RULES.get(self.rule, ""),
            "steps": steps,
        }


def explain(
    scenario: Scenario, policy: Policy, machine_type: type[Machine] = Machine
) -> Explanation:
    """Run the scenario and return what it did; the same scenario, policy, machine and version give the same
    explanation.
    """
    outcome, trace = trace_run(scenario, policy.make(), machine_type)
    costs = outcome.costs
    meanings = {reason: meaning for reason, (_, meaning) in REASONS.items()} | UNDECIDED_REASONS
    told = Explanation(
        policy=policy.name,
        verdict=outcome.verdict,
        rule=outcome.rule,
        reason=outcome.reason,
        meaning=meanings.get(outcome.reason, ""),
        skip=guilty_skip(outcome),
        scenario=scenario,
        operations=tuple(
            render_record((kind, cpu, 0, page, count, arg)).partition(" ")[2]
            for kind, cpu, _, page, count, arg in scenario.records
        ),
        steps=tuple(trace.steps),
        costs={
            "flushes": costs[FLUSHES],
            "ipis": costs[IPIS],
            "invalidated_pages": costs[INVALIDATED],
        },
        missed_pauses=tuple(trace.missed),
    )
    violation = outcome.violation
    if violation is None:
        return told
    told = replace(told, open_operations=_open_operations(told, trace))
    if told.rule == "cost":
        return told
    if violation.where:
        return replace(told, decided=violation.where)
    _, old, new = outcome.oracle.skips[violation.slot]
    time, decided = trace.decisions.get(violation.cpu, (0, ""))
    return replace(
        told,
        decided=f"{decided} (step {time})" if decided else "",
        page=flags.place(*divmod(violation.slot, PAGES)),
        access=_ACCESS_NAMES.get(violation.kind, ""),
        skipped_change=f"{flags.describe_entry(old)} -> {flags.describe_entry(new)}"
        if told.skip
        else "",
        skipped_at=branch_of(policy, old, new) if told.skip else "",
        history=_history(told, outcome, violation, trace),
        cached=_cached(told, outcome, violation, trace),
    )


def _open_operations(told: Explanation, trace: Trace) -> tuple[OpenOperation, ...]:
    running = trace.running[0] if trace.running else -1
    w = trace.world
    found = []
    for cpu, record in enumerate(trace.operation_of):
        pending = w.steps[cpu]
        if cpu == running:
            found.append(OpenOperation(cpu, told.operation(record), told.steps[-1].step))
        elif pending:
            found.append(
                OpenOperation(cpu, told.operation(record), w.flush.step_name(w, cpu, pending[-1]))
            )
    return tuple(found)


def _history(
    told: Explanation, outcome: Outcome, violation: Violation, trace: Trace
) -> tuple[Version, ...]:
    oracle, slot = outcome.oracle, violation.slot
    kinds = [violation.kind] if violation.kind else [READ, WRITE, EXEC]
    floor = min(oracle.floor[kind][slot] for kind in kinds)
    versions = oracle.versions[slot]
    shown = []
    for index in range(max(0, floor - _REVOKED_SHOWN), len(versions)):
        version = versions[index]
        time, record = trace.authors[slot][index]
        shown.append(
            Version(
                index,
                flags.incarnation(version >> 3 & INCARNATION) if version else "absent",
                flags.region_text(version & 7 | key_of(version) << KEY_SHIFT),
                time,
                told.operation(record),
                index >= floor,
            )
        )
    return tuple(shown)


def _cached(
    told: Explanation, outcome: Outcome, violation: Violation, trace: Trace
) -> tuple[Cached, ...]:
    """Return the entries that CPUs hold for the page, and those that the last operation dropped."""
    slot = violation.slot
    newest = outcome.oracle.versions[slot][-1]
    last = told.steps[-1]
    recent = [
        fill
        for fill in trace.dropped
        if fill.cpu == violation.cpu
        and fill.dropped > _began(told, last)
        and fill.dropped < last.time
    ]
    return tuple(
        Cached(
            fill.cpu,
            flags.pages_text(pages_of(fill.key)),
            flags.describe_tlb(fill.entry),
            fill.time,
            told.operation(fill.record),
            fill.dropped,
            _compared(fill, slot % PAGES, newest),
        )
        for fill in [*recent, *trace.fills.values()]
        if _translates(outcome, fill, slot)
    )


def _began(told: Explanation, last: TracedStep) -> int:
    """Return the time before the first step of the operation in which the run ended."""
    return (
        min(
            (s.time for s in told.steps if s.record == last.record and s.cpu == last.cpu),
            default=last.time,
        )
        - 1
    )


def _translates(outcome: Outcome, fill: Fill, slot: int) -> bool:
    mm, page = divmod(slot, PAGES)
    tag, low = fill.key >> 4 & TAG_MASK, fill.key & 7
    if low != (page // FANOUT if fill.key & 8 else page):
        return False
    w = outcome.world
    return tag == GLOBAL_TAG or w.flush.tag_owner(w, fill.cpu, tag) == mm


def _compared(fill: Fill, page: int, newest: int) -> str:
    grants = tlb_grants(fill.entry)
    shown = seen(fill.entry) + (page % FANOUT << 3 if fill.key & 8 else 0)
    if newest & SEEN != shown or grants & ~newest:
        return "stale"
    return "tighter" if newest & ~grants & (WRITE | EXEC) else "current"
