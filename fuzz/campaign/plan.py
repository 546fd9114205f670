"""What a campaign is asked to do, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shootdown.fuzz.campaign.messages import Broken
from shootdown.machine.registry import DEFAULT_MACHINE
from shootdown.policy.source import LoadedPolicy
from shootdown.store import Ending, Minimum, Totals


@dataclass(frozen=True, slots=True)
class Limits:
    """What stops a campaign, whichever comes first; None and False are no limit."""

    seconds: float | None = None
    executions: int | None = None
    until_finding: bool = False

    def document(self) -> dict[str, object]:
        """Return the limits that are set, as the findings database keeps them."""
        limits = {
            "for": self.seconds,
            "execs": self.executions,
            "until_finding": self.until_finding or None,
        }
        return {name: value for name, value in limits.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Plan:
    """A campaign before it starts.

    `seeds` are the inputs that every worker runs first, `resumed` how many of them, at the end, an earlier campaign
    has left; a worker that is silent for `silence` seconds is taken for hung. `unique`: no campaign of the database may
    have the name already. `machine` is a name of machine.registry.
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


@dataclass(slots=True)
class Sighted:
    """A finding that the campaign has seen: new to the database or not, and how many failures were of its kind."""

    key: str
    minimum: Minimum
    new: bool
    execution: int
    complete: bool
    count: int = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a campaign is: seconds since its start, executions a second lately, and counters.

    `quiet` counts the seconds since the last new feature, `flushes` and `reference_flushes` those of all executions.
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


class View(Protocol):
    """Shows a campaign to somebody while it runs."""

    def update(self, snapshot: Snapshot) -> None:
        """Show how far it is; called a few times a second."""

    def finding(self, sighted: Sighted) -> None:
        """Announce a finding that is on the disk."""

    def event(self, sentence: str) -> None:
        """Say what happened to a worker, or that the campaign is ending."""


class NoView:
    """Shows nothing."""

    def update(self, snapshot: Snapshot) -> None:
        """Take note of nothing."""

    def finding(self, sighted: Sighted) -> None:
        """Take note of nothing."""

    def event(self, sentence: str) -> None:
        """Take note of nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """A campaign that has ended. `broken` says why it failed; `logs` is the folder of the workers' logs, if kept."""

    campaign: str
    status: Ending
    totals: Totals
    snapshot: Snapshot
    findings: Sequence[Sighted]
    broken: Broken | None = None
    logs: Path | None = None
    events: Sequence[str] = field(default=())
