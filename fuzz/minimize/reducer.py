"""The one place where a candidate is judged: within budget, asked only once, simpler, interesting."""

from collections.abc import Callable
from typing import TypeAlias

from fuzz.minimize.order import simplicity_key
from fuzz.scenario import Scenario, decode, encode

Interesting: TypeAlias = Callable[[Scenario], bool]
"""Whether a scenario still shows what it is reduced for; a pure function."""


class OutOfBudget(Exception):
    """The predicate would have to be called more often than the budget allows."""


class Judge:
    """Calls the predicate at most ``budget`` times, and at most once for each scenario."""

    def __init__(self, interesting: Interesting, budget: int) -> None:
        self.runs = 0
        self._interesting = interesting
        self._budget = budget
        self._verdicts: dict[bytes, bool] = {}

    def __call__(self, scenario: Scenario) -> bool:
        """Whether a canonical scenario is interesting.

        Raises OutOfBudget when that is not known and no call is left.
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
    """Holds the simplest interesting scenario known, ``best``, which only `consider` replaces.

    ``best`` is canonical and interesting at any time, and its key never rises.
    """

    def __init__(self, start: Scenario, judge: Judge) -> None:
        """Start from a canonical scenario that ``judge`` calls interesting."""
        self.best = start
        self._key = simplicity_key(start)
        self._judge = judge

    def consider(self, candidate: Scenario) -> bool:
        """True iff ``candidate``, made canonical, is simpler than ``best`` and interesting; it is
        ``best`` afterwards. Costs no run when it is not simpler or was judged before.
        """
        candidate = canonical(candidate)
        key = simplicity_key(candidate)
        if key >= self._key or not self._judge(candidate):
            return False
        self.best, self._key = candidate, key
        return True

    def branch(self, start: Scenario) -> "Reducer | None":
        """A reducer of its own for ``start``, made canonical, be it simpler than ``best`` or not;
        None when ``start`` is not interesting. Budget and memory are shared, ``best`` is not.
        """
        start = canonical(start)
        return Reducer(start, self._judge) if self._judge(start) else None


def canonical(scenario: Scenario) -> Scenario:
    """The canonical scenario that the binary form of ``scenario`` decodes to."""
    return decode(encode(scenario))


Pass: TypeAlias = Callable[[Reducer], None]
"""Offers candidates to a reducer. Which ones depends on nothing but ``best`` and the verdicts, so a
pass that changed nothing would change nothing again.
"""
