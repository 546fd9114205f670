"""What a worker does with a failure: it counts the failure, and makes a finding of the first of its kind."""

from collections import Counter
from collections.abc import Callable

from shootdown.evidence.investigate import Investigation
from shootdown.evidence.skip import guilty_skip
from shootdown.fuzz.campaign.messages import Interesting, Message
from shootdown.machine.x86 import Machine
from shootdown.optimized.policy import Policy
from shootdown.run.execute import Outcome


class Triage:
    """Receives a session's reports, and sends those that matter.

    Of each kind of failure (rule, reason, guilty skip) the 1st, 2nd, 4th, 8th, ... is minimized, and all are counted: a
    frequent bug costs little, and a second bug with the same words can still be found.
    `base`: as for an Investigation; the session reports what it allows.
    `beat`: called between two runs, so that the parent hears from a worker that minimizes for a long time.
    """

    def __init__(
        self,
        policy: Policy,
        send: Callable[[Message], None],
        beat: Callable[[], object],
        machine_type: type[Machine] = Machine,
        base: Policy | None = None,
    ) -> None:
        self.send = send
        self.failures = 0
        self.execution: Callable[[], int] = lambda: 0
        self.again: Counter[str] = Counter()
        self._investigation = Investigation(policy, beat, machine_type, base)
        self._kinds: Counter[tuple[str, str, str]] = Counter()
        self._finding_of: dict[tuple[str, str, str], str] = {}
        self._sent: set[str] = set()

    def interesting(self, data: bytes) -> None:
        """Pass an input with a new feature on, for the stored corpus."""
        self.send(Interesting(data))

    def failure(self, data: bytes, outcome: Outcome) -> None:
        """Count a failure, and send it as a finding if it is the first, second, fourth, ... of its kind.

        Errors: NotReproducible when the scenario does not show the same again.
        """
        self.failures += 1
        kind = (outcome.rule, outcome.reason, guilty_skip(outcome))
        self._kinds[kind] += 1
        count = self._kinds[kind]
        if count & (count - 1):
            self.again[self._finding_of[kind]] += 1
            return
        found = self._investigation.investigate(data, outcome, self.execution())
        key = found.minimum.key
        self._finding_of[kind] = key
        if key in self._sent:
            self.again[key] += 1
        else:
            self._sent.add(key)
            self.send(found)
