"""Random sequences on the host's kernel and on the models, until a limit."""

import time
from collections.abc import Callable
from typing import Final

from shootdown.conform.live.compare import PROCESS, Disagreement, compare
from shootdown.conform.live.driver import DriverFailed, Runs
from shootdown.conform.live.known import Known
from shootdown.conform.live.left_out import is_driven
from shootdown.conform.live.program import NotLegal, program_of
from shootdown.conform.live.sequences import random_sequence
from shootdown.conform.outcome import Figures, Found
from shootdown.minimize import minimize
from shootdown.mm.world import FlushStrategy
from shootdown.scenario import Scenario
from shootdown.system.environment import draws

KIND: Final = "live"
LENGTH: Final = 24
"""Operations of a sequence before each page is checked."""
AGAIN: Final = 3
BUDGET: Final = 600
"""The most runs for the minimization of one disagreement."""


class Campaign:
    """Compares sequence after sequence; `figures` says how far it is."""

    def __init__(
        self,
        driver: Runs,
        strategy: FlushStrategy,
        *,
        driven: tuple[int, ...],
        known: tuple[Known, ...],
        seed: int,
    ) -> None:
        self.driver = driver
        self.strategy = strategy
        self.driven = driven
        self.known = known
        self.seed = seed
        self.cpus = min(driver.cpus, 2)
        self.figures = Figures()

    def run(
        self,
        *,
        seconds: float,
        sequences: int | None,
        stop: Callable[[], bool],
        tell: Callable[[], None],
        store: Callable[[Found], None],
    ) -> None:
        """Compare until the time, the number of sequences, or `stop` ends it.

        `store`: it is called with each disagreement.
        Errors: DriverFailed.
        """
        last = time.monotonic() + seconds
        while not stop() and (sequences is None or self.figures.sequences < sequences):
            if time.monotonic() >= last:
                break
            tell()
            found = self._one(self.seed + self.figures.sequences)
            if found is not None:
                store(found)

    def _one(self, seed: int) -> Found | None:
        scenario = random_sequence(draws(seed), self.cpus, self.driven, LENGTH)
        compared = compare(self.driver, program_of(scenario, self.strategy, self.known))
        figures = self.figures
        figures.sequences += 1
        figures.operations += compared.commands
        figures.accesses += compared.accesses
        for name in sorted(compared.explained):
            figures.explain(name)
        if compared.disagreement is None:
            return None
        return self._found(scenario, seed, compared.disagreement)

    def _found(self, scenario: Scenario, seed: int, first: Disagreement) -> Found:
        again = all(self._disagrees(scenario, first.what) for _ in range(AGAIN))
        if first.what == PROCESS and not again:
            raise DriverFailed(first.kernel)
        shown: Disagreement | None = first
        if again:
            scenario = minimize(
                scenario,
                lambda one: self._disagrees(one, first.what) is not None,
                budget=BUDGET,
                points=self.strategy.points(),
            ).scenario
            shown = self._disagrees(scenario, first.what)
        shown = shown or first
        return Found(KIND, shown.what, shown.model, shown.kernel, seed, scenario, again=again)

    def _disagrees(self, scenario: Scenario, what: str) -> Disagreement | None:
        """Return the disagreement of a scenario if it is about the same; None if the scenario cannot be driven."""
        if not is_driven(scenario, self.driven, self.driver.features, self.driver.cpus):
            return None
        try:
            program = program_of(scenario, self.strategy, self.known)
        except NotLegal:
            return None
        found = compare(self.driver, program).disagreement
        return found if found is not None and found.what == what else None
