"""The comparison with the host's kernel: flush requests, then races, then random sequences until the time is over."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from shootdown.conform.live import flushes, races
from shootdown.conform.live.campaign import Campaign
from shootdown.conform.live.commands import HAS_COUNTERS
from shootdown.conform.live.driver import Driver, DriverFailed
from shootdown.conform.live.host import Host
from shootdown.conform.live.known import known_on
from shootdown.conform.live.left_out import driven_on
from shootdown.conform.outcome import Figures, Found
from shootdown.mm.world import FlushStrategy
from shootdown.scenario import Scenario


class Part(StrEnum):
    """The parts of the comparison, in their order; the string is the name on the command line."""

    FLUSHES = "flushes"
    RACES = "races"
    SEQUENCES = "sequences"


RACING: Final = 1 / 3
"""The largest part of the time that the races get, if sequences come after them."""
ROUNDS: Final = 50
"""The most rounds of a race that run before the next race has its turn: as many as it has had, so that every race has
some rounds when time is short.
"""
FEWEST: Final = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends the comparison: seconds; and sequences, and rounds of each race, if they are given."""

    seconds: float
    sequences: int | None = None
    rounds: int | None = None


@dataclass(slots=True)
class RaceFigures:
    """How often a race was run."""

    name: str
    rounds: int = 0
    accesses: int = 0


@dataclass(slots=True)
class Result:
    """All that the comparison has shown; `failure` says why it ended early, "" if it did not."""

    host: Host
    seed: int
    left_out: list[str]
    wanted_sequences: bool
    figures: Figures = field(default_factory=Figures)
    raced: list[RaceFigures] = field(default_factory=list)
    requests: list[flushes.Compared] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    failure: str = ""
    interrupted: bool = False

    @property
    def compared(self) -> bool:
        """Return whether anything was compared."""
        return bool(self.figures.sequences or self.requests or any(r.rounds for r in self.raced))

    def unreached(self) -> list[str]:
        """Return a line for each part that got no time, or not enough."""
        lines = []
        idle = sum(not race.rounds for race in self.raced)
        if idle:
            lines.append(
                f"races: {idle} of {len(self.raced)} had no round; give more time (--for)."
            )
        if self.wanted_sequences and not self.figures.sequences:
            lines.append("sequences: there was no time for any; give more (--for).")
        return lines


class Comparison:
    """Runs the parts on a driver; `tell` is called with a line now and then, `store` with each disagreement."""

    def __init__(
        self,
        driver: Driver,
        here: Host,
        strategy: FlushStrategy,
        seed: int,
        parts: Sequence[Part],
    ) -> None:
        self.driver = driver
        self.strategy = strategy
        self.parts = parts
        self.driven, lacking = driven_on(here, driver.cpus, driver.features, driver.uffd_error)
        self.result = Result(here, seed, lacking, Part.SEQUENCES in parts)
        if Part.FLUSHES in parts and not self.counts:
            lacking.append(
                "flush requests: the processor broadcasts them (INVLPGB)."
                if "invlpgb" in here.flags
                else "flush requests: the tracepoint tlb:tlb_flush cannot be counted (needs root)."
            )
        if Part.RACES in parts and driver.cpus == 1:
            lacking.append("races: they need two CPUs.")

    @property
    def counts(self) -> bool:
        """Return whether flush requests can be counted: with a second CPU that can be interrupted."""
        counters = bool(self.driver.features & HAS_COUNTERS)
        return counters and self.driver.cpus > 1 and "invlpgb" not in self.result.host.flags

    def run(
        self,
        limits: Limits,
        *,
        stop: Callable[[], bool],
        tell: Callable[[str], None],
        store: Callable[[Found], None],
    ) -> Result:
        """Run until a limit, or until `stop` says so; everything that was compared before an early end counts."""
        start = time.monotonic()
        self.driver.stop = stop

        def keep(found: Found) -> None:
            self.result.found.append(found)
            store(found)

        try:
            if Part.FLUSHES in self.parts and self.counts:
                tell("flush requests")
                self._flushes(stop, keep)
            if Part.RACES in self.parts and self.driver.cpus > 1:
                only = Part.SEQUENCES not in self.parts
                seconds = limits.seconds if only else limits.seconds * RACING
                self._races(start + seconds, limits.rounds, stop, tell, keep)
            if Part.SEQUENCES in self.parts:
                self._sequences(start, limits, stop, tell, keep)
        except DriverFailed as error:
            self.result.failure = str(error)
        self.result.interrupted = stop()
        self.result.figures.seconds = time.monotonic() - start
        return self.result

    def _flushes(self, stop: Callable[[], bool], keep: Callable[[Found], None]) -> None:
        for case in flushes.cases():
            if stop():
                return
            if not flushes.can_count(case, self.driven, self.driver):
                continue
            compared = flushes.compared(self.driver, case, self.strategy)
            self.result.requests.append(compared)
            if compared.why:
                self.result.figures.explain(compared.why)
            elif compared.model != compared.kernel:
                keep(
                    Found(
                        "flushes",
                        "flush requests",
                        _counts(compared.model),
                        _counts(compared.kernel),
                        self.result.seed,
                        Scenario(case.header, (*case.setup, case.operation)),
                    )
                )

    def _races(
        self,
        last: float,
        rounds: int | None,
        stop: Callable[[], bool],
        tell: Callable[[str], None],
        keep: Callable[[Found], None],
    ) -> None:
        """Give each race a turn after the other, so that all have had equally many rounds when the time is over."""
        drivable = [
            race for race in races.races() if races.can_race(race, self.driven, self.driver)
        ]
        may: dict[str, races.Allowed] = {}
        figures = {race.name: RaceFigures(race.name) for race in drivable}
        self.result.raced = list(figures.values())
        forbidden: set[str] = set()
        while rounds is None or any(one.rounds < rounds for one in figures.values()):
            for race in drivable:
                if stop() or time.monotonic() >= last:
                    return
                mine = figures[race.name]
                wanted = min(ROUNDS, max(FEWEST, mine.rounds))
                if rounds is not None:
                    wanted = min(wanted, rounds - mine.rounds)
                if wanted <= 0:
                    continue
                if race.name not in may:
                    may[race.name] = races.allowed(race, self.strategy)
                raced = races.run_race(self.driver, race, wanted, self.strategy, may[race.name])
                mine.rounds += raced.rounds
                mine.accesses += raced.accesses
                if raced.forbidden is not None and race.name not in forbidden:
                    forbidden.add(race.name)
                    keep(_forbidden(raced.forbidden, may[race.name], self.result.seed))
                done = sum(one.rounds for one in figures.values())
                tell(f"races: {done:,} rounds of {len(figures)} races")

    def _sequences(
        self,
        start: float,
        limits: Limits,
        stop: Callable[[], bool],
        tell: Callable[[str], None],
        keep: Callable[[Found], None],
    ) -> None:
        campaign = Campaign(
            self.driver,
            self.strategy,
            driven=self.driven,
            known=known_on(self.result.host),
            seed=self.result.seed,
        )
        campaign.figures = self.result.figures
        campaign.run(
            seconds=start + limits.seconds - time.monotonic(),
            sequences=limits.sequences,
            stop=stop,
            tell=lambda: tell(_words(campaign.figures)),
            store=keep,
        )


def _forbidden(forbidden: races.Forbidden, may: races.Allowed, seed: int) -> Found:
    race, phase, outcome = forbidden
    allowed = ", ".join(_outcome(one) for one in sorted(may.of(phase)))
    return Found(
        "races",
        f"{race.name}, {races.PHASES[phase]}",
        allowed,
        _outcome(outcome),
        seed,
        Scenario(race.header, (*race.setup, race.operation, race.access)),
        again=False,
    )


def _outcome(outcome: tuple[str, int]) -> str:
    return f"{outcome[0]} {outcome[1]}" if outcome[0] == "DONE" else outcome[0]


def _counts(counts: flushes.Counts) -> str:
    return f"{counts.flushes}, {counts.interrupting} of them interrupt others"


def _words(figures: Figures) -> str:
    return f"sequences: {figures.sequences:,}, {figures.accesses:,} accesses"
