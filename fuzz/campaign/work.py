"""A worker's work: it drives one engine, and tells the parent the results."""

import os
import select
import time
import traceback
from typing import Final

from shootdown.evidence.investigate import NotReproducible
from shootdown.fuzz.base import Base
from shootdown.fuzz.campaign.job import Job, read_corpus
from shootdown.fuzz.campaign.messages import Broken, Bye, Hello, Message, Progress, encode_message
from shootdown.fuzz.campaign.orphan import end_orphaned
from shootdown.fuzz.campaign.triage import Triage
from shootdown.fuzz.engines.registry import ENGINES, drive
from shootdown.fuzz.engines.session import Finished, Session
from shootdown.machine.registry import machine_named
from shootdown.policy.source import LoadedPolicy, PolicyError, blame, load_policy
from shootdown.scenario import Scenario, render

BEAT_SECONDS: Final = 0.1
PROGRESS_SECONDS: Final = 0.5


class GuardedSession(Session):
    """A session that ends at an exception in an execution; `raised` and `raised_by` hold the exception and its
    scenario.

    The engine does not see the exception: libFuzzer would take it for a crash.
    """

    raised: BaseException | None = None
    raised_by: Scenario | None = None

    def run_scenario(self, scenario: Scenario, data: bytes | None = None) -> set[int]:
        """Execute a scenario as Session does."""
        try:
            return super().run_scenario(scenario, data)
        except (Finished, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a policy raises, sys.exit() included, is kept
            self.raised, self.raised_by = error, scenario
            raise Finished from None


class Work:
    """One worker from hello to bye."""

    def __init__(self, job: Job, channel: int) -> None:
        self.job = job
        self.channel = channel
        self.stopping = False
        self.next_beat = 0.0
        self.next_progress = 0.0
        self.reported: set[int] = set()

    def run(self) -> None:
        """Fuzz up to the limit, or until the parent closes standard input."""
        try:
            loaded = load_policy(self.job.policy)
            base = load_policy(self.job.base) if self.job.base else None
        except PolicyError as error:
            self.send(Broken("policy", str(error)))
            return
        machine_type = machine_named(self.job.machine)
        self.triage = Triage(
            loaded.policy, self.send, self.beat, machine_type, base.policy if base else None
        )
        self.session = GuardedSession(
            loaded.policy,
            seed=self.job.seed,
            records=self.job.records,
            corpus=read_corpus(self.job.corpus),
            report=self.triage,
            stop=self.stop,
            feedback=ENGINES[self.job.engine].feedback,
            machine_type=machine_type,
            base=Base(loaded.policy, base.policy, machine_type) if base else None,
        )
        self.triage.execution = lambda: self.session.executions
        self.send(Hello(os.getpid()))
        try:
            drive(self.job.engine, self.session)
        except BaseException as error:  # noqa: BLE001 - libFuzzer ends with SystemExit; the parent hears of everything
            self.session.raised = error
        self.progress()
        self.send(self.trouble(loaded, base) or Bye())

    def stop(self) -> bool:
        """Return whether the session is over; called before each execution."""
        if self.session.raised or 0 < self.job.executions <= self.session.executions:
            return True
        self.beat()
        return self.stopping

    def beat(self) -> None:
        """Now and then, check whether the parent wants an end, and tell it how far the work is."""
        now = time.monotonic()
        if now < self.next_beat:
            return
        self.next_beat = now + BEAT_SECONDS
        if select.select([0], [], [], 0)[0]:
            self.stopping = True
        if now >= self.next_progress:
            self.next_progress = now + PROGRESS_SECONDS
            self.progress()

    def progress(self) -> None:
        """Send the counters, and what is new since the last time."""
        session = self.session
        new = sorted(session.features - self.reported)
        self.reported.update(new)
        again = dict(self.triage.again)
        self.triage.again.clear()
        self.send(
            Progress(
                executions=session.executions,
                undecided=session.undecided,
                failures=self.triage.failures,
                corpus_size=session.corpus_size,
                features=new,
                costs=session.costs,
                reference_costs=session.reference_costs,
                again=again,
                tally=session.base.tally() if session.base else None,
            )
        )

    def trouble(self, *policies: LoadedPolicy | None) -> Broken | None:
        """Return why the work ended early, or None if it did not."""
        error = self.session.raised
        if error is None:
            return None
        if isinstance(error, NotReproducible):
            return Broken("not-reproducible", str(error), error.text)
        scenario = render(self.session.raised_by) if self.session.raised_by else ""
        details = "".join(traceback.format_exception(error))
        blamed = (blame(error, loaded.spec) for loaded in policies if loaded)
        sentence = next(filter(None, blamed), None)
        if sentence:
            return Broken("policy", sentence, scenario, details)
        return Broken("harness", f"{type(error).__name__}: {error}", scenario, details)

    def send(self, message: Message) -> None:
        """Write a whole message; if the parent is gone, end the process."""
        line = encode_message(message)
        try:
            while line:
                line = line[os.write(self.channel, line) :]
        except BrokenPipeError:
            end_orphaned(self.job.scratch)
