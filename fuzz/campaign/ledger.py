"""What a campaign writes into the findings database, and how far it is."""

import platform
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Final

from shootdown.evidence.investigate import Found
from shootdown.fuzz.base import total
from shootdown.fuzz.campaign.messages import Progress
from shootdown.fuzz.campaign.plan import Plan, Sighted, Snapshot
from shootdown.store import (
    Campaign,
    Ending,
    Point,
    Sighting,
    Store,
    Totals,
    WorkerEvent,
    add_corpus,
    add_series,
    count_again,
    end_campaign,
    hold_lease,
    record_finding,
    record_worker_event,
    save_totals,
    start_campaign,
)
from shootdown.system.environment import now

RATE_SECONDS: Final = 5.0
"""The rate is taken over this many last seconds."""


class Ledger:
    """Keeps the figures of one campaign, and stores them and everything that the workers send.

    A finding is on the disk when `found` returns; counters and corpus are stored by `save`.
    """

    def __init__(self, store: Store, plan: Plan) -> None:
        self.store = store
        self.plan = plan
        self.tool_version = version("shootdown")
        self.began = time.monotonic()
        self.findings: dict[str, Sighted] = {}
        self.features: set[int] = set()
        self.progress: dict[int, Progress] = {}
        self.retired: list[Progress] = []
        self.replaced = 0
        self.running = 0
        self._corpus: set[bytes] = set(plan.seeds[len(plan.seeds) - plan.resumed :])
        self._new_inputs: list[bytes] = []
        self._again: Counter[str] = Counter()
        self._last_feature = self.began
        self._lately: deque[tuple[float, int]] = deque([(self.began, 0)])
        campaign = Campaign(
            name=plan.name,
            policy=plan.policy.name,
            policy_version=plan.policy.version,
            tool_version=self.tool_version,
            python=platform.python_version(),
            engine=plan.engine,
            seed=plan.seed,
            limits=plan.limits.document(),
            workers=plan.workers,
            started=now(),
            base=plan.base.name if plan.base else "",
            base_version=plan.base.version if plan.base else "",
        )
        self._lease = hold_lease(store, campaign.id)
        try:
            self.campaign = start_campaign(store, campaign, unique=plan.unique)
        except BaseException:
            self.release()
            raise
        add_corpus(store, self.campaign, plan.seeds[len(plan.seeds) - plan.resumed :])

    def interesting(self, data: bytes) -> None:
        """Take an input into the campaign's corpus."""
        if data not in self._corpus:
            self._corpus.add(data)
            self._new_inputs.append(data)

    def corpus(self) -> list[bytes]:
        """Return the inputs of a worker that starts now: the seeds, and what the others have found since the start."""
        return list(dict.fromkeys((*self.plan.seeds, *self._corpus)))

    def found(self, found: Found) -> Sighted | None:
        """Store a finding; return it if the campaign has not seen it before."""
        minimum = found.minimum
        known = self.findings.get(minimum.key)
        if known:
            self.again({minimum.key: 1})
            return None
        recorded = record_finding(
            self.store,
            minimum,
            Sighting(
                campaign=self.campaign,
                at=now(),
                execution=found.execution,
                original=found.original,
                runs=found.runs,
                tool_version=self.tool_version,
            ),
            found.evidence,
        )
        sighted = Sighted(recorded.key, minimum, recorded.new, found.execution, found.complete)
        self.findings[recorded.key] = sighted
        return sighted

    def again(self, counts: Mapping[str, int]) -> None:
        """Count further failures of a kind that has a finding already."""
        for key, count in counts.items():
            self.findings[key].count += count
            self._again[key] += count

    def heard(self, worker: int, progress: Progress) -> None:
        """Accept the counters of a worker."""
        self.progress[worker] = progress
        before = len(self.features)
        self.features.update(progress.features)
        if len(self.features) > before:
            self._last_feature = time.monotonic()
        self.again(progress.again)

    def retire(self, worker: int) -> None:
        """Keep the counters of a worker that has ended."""
        if worker in self.progress:
            self.retired.append(self.progress.pop(worker))

    def event(self, worker: int, what: WorkerEvent, detail: str) -> None:
        """Store what happened to a worker."""
        record_worker_event(
            self.store, self.campaign, at=now(), worker=worker, what=what, detail=detail
        )

    def save(self) -> None:
        """Store the counters, the new part of the corpus and a point of the time series."""
        snapshot = self.snapshot()
        if self._new_inputs:
            add_corpus(self.store, self.campaign, self._new_inputs)
            self._new_inputs.clear()
        if self._again:
            count_again(self.store, self.campaign, self._again, at=now())
            self._again.clear()
        point = Point(
            at=round(snapshot.seconds, 3),
            executions=snapshot.executions,
            rate=round(snapshot.rate, 1),
            features=snapshot.features,
            corpus=snapshot.corpus,
            findings=snapshot.findings,
            flushes_saved=snapshot.reference_flushes - snapshot.flushes,
        )
        add_series(self.store, self.campaign, [point])
        save_totals(self.store, self.campaign, self.totals())

    def end(self, status: Ending) -> None:
        """Store everything, and the end of the campaign."""
        self.save()
        end_campaign(self.store, self.campaign, status=status, ended=now(), totals=self.totals())
        self.release()

    def release(self) -> None:
        """Stop marking the campaign as running."""
        if self._lease is not None:
            self._lease.release()

    def executions(self) -> int:
        """Return the executions of all workers, as far as they have reported them."""
        return sum(progress.executions for progress in self._all())

    def totals(self) -> Totals:
        """Return the figures that the findings database keeps for a campaign."""
        policy = [sum(column) for column in zip(*(p.costs for p in self._all()), strict=True)]
        reference = [
            sum(column) for column in zip(*(p.reference_costs for p in self._all()), strict=True)
        ]
        flushes, ipis, pages = policy or (0, 0, 0)
        reference_flushes, reference_ipis, reference_pages = reference or (0, 0, 0)
        return Totals(
            executions=self.executions(),
            seconds=round(time.monotonic() - self.began, 3),
            features=len(self.features),
            corpus_size=len(self._corpus),
            policy_flushes=flushes,
            policy_ipis=ipis,
            policy_pages=pages,
            reference_flushes=reference_flushes,
            reference_ipis=reference_ipis,
            reference_pages=reference_pages,
        )

    def snapshot(self) -> Snapshot:
        """Return how far the campaign is."""
        at = time.monotonic()
        totals = self.totals()
        self._lately.append((at, totals.executions))
        while len(self._lately) > 1 and self._lately[1][0] <= at - RATE_SECONDS:
            self._lately.popleft()
        since, before = self._lately[0]
        return Snapshot(
            seconds=at - self.began,
            rate=(totals.executions - before) / (at - since) if at > since else 0.0,
            executions=totals.executions,
            undecided=sum(progress.undecided for progress in self._all()),
            features=totals.features,
            quiet=at - self._last_feature,
            corpus=totals.corpus_size,
            findings=len(self.findings),
            failures=sum(progress.failures for progress in self._all()),
            flushes=totals.policy_flushes,
            reference_flushes=totals.reference_flushes,
            workers=self.running,
            replaced=self.replaced,
            tally=total(progress.tally for progress in self._all() if progress.tally)
            if self.plan.base
            else None,
        )

    def _all(self) -> Iterable[Progress]:
        return (*self.retired, *self.progress.values())
