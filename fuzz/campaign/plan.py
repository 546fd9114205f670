"""What a campaign is asked to do, and its result."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shootdown.fuzz.base import Tally
from shootdown.fuzz.campaign.messages import Broken
from shootdown.machine.registry import DEFAULT_MACHINE
from shootdown.policy.source import LoadedPolicy
from shootdown.store import Ending, Minimum, Totals


@dataclass(frozen=True, slots=True)
class Limits:
    """What stops a campaign, whichever comes first; None and False mean no limit."""

    seconds: float | None = None
    executions: int | None = None
    until_finding: bool = False

    def document(self) -> dict[str, object]:
        """Return the limits that are set, in the form in which the findings database keeps them."""
        limits = {
            "for": self.seconds,
            "execs": self.executions,
            "until_finding": self.until_finding or None,
        }
        return {name: value for name, value in limits.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Plan:
    """A campaign before it starts.

    `seeds`: the inputs that every worker runs first.
    `resumed`: how many of the seeds, at the end, come from an earlier campaign.
    `silence`: a worker that is silent for this many seconds counts as hung.
    `unique`: no campaign of the database may have the name already.
    `machine`: a name of machine.registry.
    `base`: the policy that the other is held against: only what it allows is a finding.
    """

    name: str
    policy: LoadedPolicy
    engine: str
    seed: int
    workers: int
    records: int
    limits: Limits
    seeds: Sequence[bytes] = ()
    resumed: int = 0
    silence: float = 30.0
    unique: bool = False
    machine: str = DEFAULT_MACHINE
    base: LoadedPolicy | None = None


@dataclass(slots=True)
class Sighted:
    """A finding that the campaign has seen: whether it was new to the database, and how many failures were
    of its kind.
    """

    key: str
    minimum: Minimum
    new: bool
    execution: int
    complete: bool
    count: int = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a campaign is: seconds since its start, recent executions per second, and counters.

    `quiet`: seconds since the last new feature.
    `flushes`, `reference_flushes`: the flushes of all executions.
    `tally`: what the base has shown, if there is one.
    """

    seconds: float = 0.0
    rate: float = 0.0
    executions: int = 0
    undecided: int = 0
    features: int = 0
    quiet: float = 0.0
    corpus: int = 0
    findings: int = 0
    failures: int = 0
    flushes: int = 0
    reference_flushes: int = 0
    workers: int = 0
    replaced: int = 0
    tally: Tally | None = None


class View(Protocol):
    """Shows a campaign while it runs."""

    def update(self, snapshot: Snapshot) -> None:
        """Show how far the campaign is; called a few times a second."""

    def finding(self, sighted: Sighted) -> None:
        """Announce a finding that is on the disk."""

    def event(self, sentence: str) -> None:
        """Say what happened to a worker, or that the campaign ends."""


class NoView:
    """A view that shows nothing."""

    def update(self, snapshot: Snapshot) -> None:
        """Do nothing."""

    def finding(self, sighted: Sighted) -> None:
        """Do nothing."""

    def event(self, sentence: str) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """A campaign that has ended.

    `broken`: why it failed.
    `logs`: the folder of the workers' logs, if it was kept.
    """

    campaign: str
    status: Ending
    totals: Totals
    snapshot: Snapshot
    findings: Sequence[Sighted]
    broken: Broken | None = None
    logs: Path | None = None
    events: Sequence[str] = field(default=())
