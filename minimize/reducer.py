"""The one place where a candidate is judged: within the budget, only once, simpler, interesting."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from shootdown.minimize.order import simplicity_key
from shootdown.minimize.rewrite import KIND, is_call, replaced
from shootdown.scenario import Record, Scenario, decode, encode

Interesting: TypeAlias = Callable[[Scenario], bool]
"""Returns whether a scenario still shows what it is reduced for; a pure function."""


Exchange: TypeAlias = tuple[int | tuple[int, int] | None, ...]
"""The identity of an exchange of one record for another (`_exchange`)."""


class OutOfBudget(Exception):
    """The predicate would have to be called more often than the budget allows."""


class Judge:
    """Calls the predicate at most `budget` times, and at most once for each scenario."""

    def __init__(self, interesting: Interesting, budget: int) -> None:
        self.runs = 0
        self._interesting = interesting
        self._budget = budget
        self._verdicts: dict[bytes, bool] = {}

    def __call__(self, scenario: Scenario) -> bool:
        """Return whether a canonical scenario is interesting.

        Errors: OutOfBudget when that is not known and no call is left.
        """
        data = encode(scenario)
        verdict = self._verdicts.get(data)
        if verdict is None:
            if self.runs >= self._budget:
                raise OutOfBudget
            self.runs += 1
            verdict = self._verdicts[data] = self._interesting(scenario)
        return verdict


class Reducer:
    """Holds the simplest interesting scenario known, `best`, which only `consider` replaces.

    `best`: canonical and interesting at any time; its key never rises.
    `points`: the run fields of the named pauses that a candidate may get.
    """

    def __init__(self, start: Scenario, judge: Judge, points: Sequence[int]) -> None:
        """Start from a canonical scenario that `judge` calls interesting."""
        self.best = start
        self.points = points
        self.thorough = False
        """Whether refused exchanges are tried again; False once anything is taken."""
        self._refused: set[Exchange] = set()
        self._key = simplicity_key(start)
        self._judge = judge

    def consider(self, candidate: Scenario) -> bool:
        """Return whether `candidate`, made canonical, is simpler than `best` and interesting; if so, it
        becomes `best`.

        This costs no run if the candidate is not simpler, or was judged before.
        """
        candidate = canonical(candidate)
        key = simplicity_key(candidate)
        if key >= self._key or not self._judge(candidate):
            return False
        self.best, self._key = candidate, key
        self.thorough = False
        return True

    def substitute(self, at: int, record: Record) -> bool:
        """Consider `best` with another record at one position.

        Unless `thorough` is set, an exchange of these two records that was refused before, here or in another scenario,
        is refused without a run. Whether a record can be replaced rarely depends on the other records, and they change
        all the time: trying again after each change took half of all runs where the minimum has 7 records.
        """
        exchange = _exchange(self.best.records[at], record)
        if exchange in self._refused and not self.thorough:
            return False
        taken = self.consider(replaced(self.best, at, record))
        if not taken:
            self._refused.add(exchange)
        return taken

    def branch(self, start: Scenario) -> "Reducer | None":
        """Return a reducer of its own for `start`, made canonical, whether simpler than `best` or not; None when
        `start` is not interesting.

        The two share budget and memory, but not `best`.
        """
        start = canonical(start)
        return Reducer(start, self._judge, self.points) if self._judge(start) else None


def _exchange(before: Record, after: Record) -> Exchange:
    """Return what is exchanged.

    For a call, the kind and the fields that change, so that other names for CPUs and pages make no difference. For any
    other record, everything, because it matters which of two stores becomes a load.
    """
    if not is_call(before):
        return (*before, *after)
    changes = [(old, new) if old != new else None for old, new in zip(before, after, strict=True)]
    return (before[KIND], *changes)


def canonical(scenario: Scenario) -> Scenario:
    """Return the canonical scenario to which the binary form of `scenario` decodes."""
    return decode(encode(scenario))


Pass: TypeAlias = Callable[[Reducer], None]
"""Offers candidates to a reducer. The candidates depend only on `best` and the verdicts, so a pass that changed nothing
while `thorough` was set would change nothing again.
"""
