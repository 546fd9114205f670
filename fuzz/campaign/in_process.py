"""A campaign in this process: no workers, no database, no file, and nothing printed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from shootdown.evidence.investigate import Found
from shootdown.fuzz.campaign.messages import Message
from shootdown.fuzz.campaign.plan import Limits, Sighted
from shootdown.fuzz.campaign.triage import Triage
from shootdown.fuzz.engines.registry import ENGINES, drive
from shootdown.fuzz.engines.session import Session
from shootdown.policy.source import LoadedPolicy, blamed


@dataclass(frozen=True, slots=True)
class Ended:
    """A campaign that has ended; the findings are in the order in which they were met."""

    executions: int
    undecided: int
    failures: int
    features: int
    seconds: float
    findings: tuple[Sighted, ...]


def fuzz_in_process(
    loaded: LoadedPolicy,
    *,
    engine: str,
    seed: int,
    records: int,
    limits: Limits,
    seeds: Sequence[bytes],
) -> Ended:
    """Fuzz until a limit with an engine that leaves the process unchanged; without a time limit, the seed decides all.

    Errors: PolicyError when the user's file raises; any exception of another policy; NotReproducible.
    """
    began = time.monotonic()
    findings: dict[str, Sighted] = {}

    def hear(message: Message) -> None:
        if isinstance(message, Found):
            key = message.minimum.key
            findings[key] = Sighted(
                key,
                message.minimum,
                new=True,
                execution=message.execution,
                complete=message.complete,
            )

    def stop() -> bool:
        return (
            (limits.until_finding and bool(findings))
            or (limits.executions is not None and session.executions >= limits.executions)
            or (limits.seconds is not None and time.monotonic() - began >= limits.seconds)
        )

    triage = Triage(loaded.policy, hear, lambda: None)
    session = Session(
        loaded.policy,
        seed=seed,
        records=records,
        corpus=seeds,
        report=triage,
        stop=stop,
        feedback=ENGINES[engine].feedback,
    )
    triage.execution = lambda: session.executions
    with blamed(loaded):
        drive(engine, session)
    for key, count in triage.again.items():
        findings[key].count += count
    return Ended(
        session.executions,
        session.undecided,
        triage.failures,
        len(session.features),
        time.monotonic() - began,
        tuple(findings.values()),
    )
