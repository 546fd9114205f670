"""The one place where a candidate is judged: seen before, simpler, within budget, interesting."""

from collections.abc import Callable
from typing import TypeAlias

from fuzz.minimize.order import simplicity_key
from fuzz.scenario import Record, Scenario, decode, encode

Interesting: TypeAlias = Callable[[Scenario], bool]
"""Whether a scenario still shows what it is reduced for; must be a pure function."""


class OutOfBudget(Exception):
    """The predicate has been called as often as allowed."""


class Reducer:
    """Holds the simplest interesting scenario found so far; only `consider` replaces it.

    ``best`` is interesting and canonical at any time, its key never rises, and ``runs`` never
    exceeds ``budget``.
    """

    def __init__(self, start: Scenario, interesting: Interesting, budget: int) -> None:
        data = encode(start)
        self.best = decode(data)
        self.runs = 0
        self.budget = budget
        self._interesting = interesting
        self._key = simplicity_key(self.best)
        self._seen = {encode(self.best)}

    def consider(self, candidate: Scenario) -> bool:
        """True iff ``candidate``, made canonical, is simpler than ``best`` and interesting; it is
        then the new ``best``. A canonical form that was tried before, or is not simpler, costs no
        run. Raises OutOfBudget when a run would be needed and none is left.
        """
        candidate = decode(encode(candidate))
        data = encode(candidate)
        if data in self._seen:
            return False
        key = simplicity_key(candidate)
        if key >= self._key:
            return False
        if self.runs >= self.budget:
            raise OutOfBudget
        self._seen.add(data)
        self.runs += 1
        if not self._interesting(candidate):
            return False
        self.best, self._key = candidate, key
        return True

    def consider_records(self, records: "list[Record] | tuple[Record, ...]") -> bool:
        """`consider` the current header with other records."""
        return self.consider(Scenario(self.best.header, tuple(records)))
