"""From an interesting scenario to the simplest one of its kind, by asking a predicate.

Knows nothing of policies, oracles or tests: a scenario and a predicate go in.
"""

from shootdown.minimize.driver import Minimized, NotInteresting, minimize
from shootdown.minimize.order import length, simplicity_key

__all__ = ["Minimized", "NotInteresting", "length", "minimize", "simplicity_key"]
