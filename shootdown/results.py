"""What the functions of `shootdown.api` return."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["legal", "illegal", "undecided"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something illegal, minimized: `scenario` is the canonical text of the smallest scenario that shows it.

    `key`: 64 hex digits, the same wherever the same minimum is found.
    `skip`: the guilty skip, which is the change of an entry that was left unflushed; "" for none.
    `operations`: how many records the scenario has.
    `execution`: the number of the first execution that showed it.
    `count`: how often it was seen.
    `complete`: false when the minimizer ran out of its budget.
    """

    key: str
    policy: str
    rule: str
    reason: str
    meaning: str
    skip: str
    scenario: str
    operations: int
    execution: int = 0
    count: int = 1
    complete: bool = True


@dataclass(frozen=True, slots=True)
class FuzzResult:
    """A campaign that has ended. The findings come shortest first.

    `undecided` counts executions in which no verdict was reached, `failures` those that showed something illegal.
    `features` counts semantic features; for an engine that does not use them, kinds of failure only. `interrupted`:
    Ctrl-C or SIGTERM ended it before its limits.
    """

    policy: str
    engine: str
    seed: int
    workers: int
    executions: int
    undecided: int
    failures: int
    features: int
    seconds: float
    findings: tuple[Finding, ...]
    interrupted: bool = False

    @property
    def quiet(self) -> bool:
        """Return whether nothing illegal was found: that is no proof, but says that these executions showed nothing."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """One step of a run: `time` counts from 1, `operation` is the record that it belongs to, "" for none.

    `step` is the name that it has in the kernel, `changes` say what it did.
    """

    time: int
    cpu: int
    operation: str
    step: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """One run of one scenario. `rule`, `reason`, `meaning` and `skip` are "" unless there is something to say.

    `report` is the explanation for people: the scenario, the timeline and, if it was illegal, all the evidence.
    """

    policy: str
    verdict: Verdict
    rule: str
    reason: str
    meaning: str
    skip: str
    scenario: str
    steps: tuple[ReplayStep, ...]
    flushes: int
    ipis: int
    invalidated_pages: int
    report: str


@dataclass(frozen=True, slots=True)
class ProofResult:
    """A proof that has ended: "legal" means no illegal outcome within the `scope`, which is in words.

    Everything with up to `complete` operations was explored. `why` is the limit of an undecided proof.
    `counterexample` is the text of a scenario with as few operations as there can be; `finding` is the same, minimized
    to the fewest records. Both are None unless the verdict is "illegal".
    """

    policy: str
    scope: str
    verdict: Verdict
    complete: int
    worlds: int
    transitions: int
    seconds: float
    why: str = ""
    counterexample: str | None = None
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Counterexample:
    """Why a change needs a flush: the entry before and after it, and events that are illegal without the flush."""

    old: str
    new: str
    events: tuple[str, ...]
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """A class of changes of a page-table entry, in the contexts in which the answers are the same.

    `size` is "4K" or "2M"; `context` names the contexts, "" for all. `verdict` is "done", "missing" (the flush is
    needed, and the policy does not flush), "wasted" or "skipped"; `needed` is "yes", "no", or "without-rewalk": only by
    a processor that sets the dirty bit without looking at the entry again. `gains` is what a wasted flush saves.
    `scenarios` names the scenarios of the corpus that the policy fails because this flush is missing.
    """

    size: str
    group: str
    change: str
    context: str
    verdict: str
    needed: str
    gains: tuple[str, ...]
    counterexample: Counterexample | None
    scenarios: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class MinimizeResult:
    """The smallest scenario, as text, that shows the same rule and reason, after that many runs.

    `complete` is false when the budget of runs was not enough for it.
    """

    scenario: str
    rule: str
    reason: str
    skip: str
    records_before: int
    records: int
    runs: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """The first outcome in which a policy and the reference differ, counted from 0, and what each shows, in words.

    If both show the same, the outcome is one that the calls do not allow. `scenario` is the text that ran in lockstep.
    """

    position: int
    policy: str
    reference: str
    scenario: str
