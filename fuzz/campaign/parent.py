"""The parent of a campaign: it starts workers, receives their messages, replaces lost ones, and keeps everything at the
end.
"""

import contextlib
import selectors
import time
from collections import Counter
from typing import Final

from shootdown.evidence.investigate import Found
from shootdown.fuzz.campaign.job import Job, write_corpus
from shootdown.fuzz.campaign.ledger import Ledger
from shootdown.fuzz.campaign.messages import Broken, Bye, Interesting, Message, Progress
from shootdown.fuzz.campaign.plan import Plan, Result, View
from shootdown.fuzz.campaign.process import WorkerProcess, start_worker
from shootdown.fuzz.campaign.scratch import Scratch
from shootdown.store import Ending, Store, StoreError, WorkerEvent
from shootdown.system.interrupts import Interrupts
from shootdown.system.refusal import Refusal

TICK_SECONDS: Final = 0.25
SAVE_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 10.0
"""Seconds in which a worker must end after it was asked to; minimizing a failure takes about one."""
BARREN: Final = 3
"""How many workers without a single execution one place may lose in a row before the campaign gives up."""
_SEED_STEP: Final = 1_000_003
"""The distance between the seeds of the workers of one campaign; the first worker has the campaign's seed."""


def run_campaign(store: Store, plan: Plan, view: View) -> Result:
    """Fuzz until a limit, Ctrl-C or SIGTERM; when this returns, all workers have ended and the database has everything.

    A second Ctrl-C does not wait for the workers.
    Errors: StoreError, when the database cannot take what was found; Refusal.
    """
    parent = _Parent(store, plan, view)
    ledger = parent.ledger
    try:
        with parent.interrupts.counted():
            parent.run()
    except BaseException as error:
        # The reader of the output is gone: the user has had enough.
        ending: Ending = "interrupted" if isinstance(error, BrokenPipeError) else "failed"
        with contextlib.suppress(StoreError):
            ledger.end(ending)
        raise
    finally:
        parent.abandon()
        keep = bool(parent.events or parent.broken)
        parent.scratch.close(keep=keep)
    return Result(
        campaign=ledger.campaign,
        status=parent.status,
        totals=ledger.totals(),
        snapshot=ledger.snapshot(),
        findings=tuple(ledger.findings.values()),
        broken=parent.broken,
        logs=parent.scratch.path if keep else None,
        events=tuple(parent.events),
    )


class _Parent:
    def __init__(self, store: Store, plan: Plan, view: View) -> None:
        self.plan = plan
        self.view = view
        self.scratch = Scratch()
        try:
            self.ledger = Ledger(store, plan)
        except BaseException:
            self.scratch.close(keep=False)
            raise
        self.selector = selectors.DefaultSelector()
        self.workers: dict[int, WorkerProcess] = {}
        self.starts = 0
        self.barren: Counter[int] = Counter()
        self.interrupts = Interrupts()
        self.stopped_at: float | None = None
        self.status: Ending = "finished"
        self.broken: Broken | None = None
        self.events: list[str] = []

    def run(self) -> None:
        self.start_all()
        saved = time.monotonic()
        while self.workers and self.interrupts.count < 2:
            for key, _ in self.selector.select(TICK_SECONDS):
                self.hear(self.workers[key.data])
            now = time.monotonic()
            self.check(now)
            self.view.update(self.ledger.snapshot())
            if now - saved >= SAVE_SECONDS:
                saved = now
                self.ledger.save()
        if self.interrupts.count > 1:
            self.status = "interrupted"
        if self.status == "finished" and not self.ledger.executions():
            # Without this message a policy that never ran would look like a clean result.
            self.fail(Broken("harness", "the campaign ended before any worker executed anything."))
        self.ledger.end(self.status)

    def start_all(self) -> None:
        limit = self.plan.limits.executions
        for number in range(self.plan.workers):
            share = 0
            if limit is not None:
                share = (limit + number) // self.plan.workers
                if not share:
                    continue
            self.start(number, share)
            self.ledger.event(number, "started", f"pid {self.workers[number].pid}")

    def start(self, number: int, executions: int) -> None:
        corpus = self.scratch.path / f"corpus{number}"
        job = Job(
            policy=self.plan.policy.spec,
            engine=self.plan.engine,
            seed=self.plan.seed + self.starts * _SEED_STEP,
            records=self.plan.records,
            executions=executions,
            corpus=str(corpus),
            machine=self.plan.machine,
            base=self.plan.base.spec if self.plan.base else "",
        )
        self.starts += 1
        try:
            write_corpus(corpus, self.ledger.corpus())
            worker = start_worker(number, job, self.scratch.path)
        except OSError as error:
            raise Refusal(f"Worker {number} cannot be started: {error.strerror}.") from error
        self.workers[number] = worker
        self.selector.register(worker, selectors.EVENT_READ, number)
        self.ledger.running = len(self.workers)

    def hear(self, worker: WorkerProcess) -> None:
        try:
            messages = worker.messages()
        except ValueError as error:
            self.fail(Broken("harness", f"Worker {worker.number} sent what is {error}."))
            worker.kill()
            return
        if messages is None:
            self.ended(worker)
            return
        for message in messages:
            self.take(worker, message)

    def take(self, worker: WorkerProcess, message: Message) -> None:
        match message:
            case Progress():
                worker.progress = message
                self.ledger.heard(worker.number, message)
            case Interesting():
                self.ledger.interesting(message.data)
            case Found():
                self.found(message)
            case Broken():
                worker.over = True
                self.fail(message)
            case Bye():
                worker.over = True
            case _:
                pass

    def found(self, found: Found) -> None:
        """Store a finding, then announce it; a finding that cannot be stored is at least shown."""
        try:
            sighted = self.ledger.found(found)
        except StoreError:
            self.view.event(f"This finding could not be stored:\n{found.minimum.text}")
            raise
        if sighted:
            self.view.finding(sighted)
            if self.plan.limits.until_finding:
                self.stop()

    def check(self, now: float) -> None:
        """Hold the campaign to its limits, and the workers to their duties."""
        limits = self.plan.limits
        if self.interrupts.count and self.stopped_at is None:
            self.status = "interrupted"
            self.view.event(
                "Stopping; everything found so far is kept. Ctrl-C again does not wait."
            )
            self.stop()
        if limits.seconds is not None and now - self.ledger.began >= limits.seconds:
            self.stop()
        if limits.executions is not None and self.ledger.executions() >= limits.executions:
            self.stop()
        for worker in list(self.workers.values()):
            late = self.stopped_at is not None and now - self.stopped_at > GRACE_SECONDS
            if late or now - worker.heard > self.plan.silence:
                silent = f"silent for {now - worker.heard:.0f} s"
                self.lost(worker, "hung", "did not end in time" if late else silent)

    def stop(self) -> None:
        """Ask all workers to end."""
        if self.stopped_at is None:
            self.stopped_at = time.monotonic()
            for worker in self.workers.values():
                worker.stop()

    def fail(self, broken: Broken) -> None:
        """End the campaign as failed; keep the first reason, with its scenario and traceback as files."""
        if self.broken is None:
            self.broken = broken
            for name, text in (
                ("scenario.txt", broken.scenario),
                ("traceback.txt", broken.details),
            ):
                if text:
                    (self.scratch.path / name).write_text(text)
        self.status = "failed"
        self.stop()

    def ended(self, worker: WorkerProcess) -> None:
        """Note that a worker has closed its pipe."""
        if worker.over:
            self.forget(worker)
            worker.reap()
        else:
            self.lost(worker, "died", "")

    def lost(self, worker: WorkerProcess, what: WorkerEvent, why: str) -> None:
        """Record a worker that died or hung, and start another one in its place."""
        if what == "hung":
            worker.kill()
        self.forget(worker)
        detail = "; ".join(filter(None, (why, worker.reap())))
        self.note(worker.number, what, detail)
        if self.stopped_at is not None:
            return
        self.barren[worker.number] += 1
        if worker.progress.executions:
            self.barren[worker.number] = 0
        if self.barren[worker.number] >= BARREN:
            self.fail(
                Broken("harness", f"{BARREN} workers were lost before they ran anything: {detail}.")
            )
            return
        left = worker.job.executions - worker.progress.executions
        if worker.job.executions and left <= 0:
            return
        self.start(worker.number, left if worker.job.executions else 0)
        self.ledger.replaced += 1
        self.note(worker.number, "replaced", f"by pid {self.workers[worker.number].pid}")

    def note(self, number: int, what: WorkerEvent, detail: str) -> None:
        sentence = f"Worker {number} {what}: {detail}."
        self.events.append(sentence)
        self.view.event(sentence)
        self.ledger.event(number, what, detail)

    def forget(self, worker: WorkerProcess) -> None:
        self.selector.unregister(worker)
        del self.workers[worker.number]
        self.ledger.retire(worker.number)
        self.ledger.running = len(self.workers)

    def abandon(self) -> None:
        """End everything that still runs, without waiting."""
        for worker in self.workers.values():
            worker.kill()
            worker.reap()
        self.workers.clear()
        self.selector.close()
