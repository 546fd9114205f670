"""From an interesting scenario to the simplest one of its kind, by asking a predicate.

This room knows nothing of policies, oracles or tests: its input is a scenario and a predicate.
"""

from shootdown.minimize.driver import Minimized, NotInteresting, minimize
from shootdown.minimize.order import length, simplicity_key

__all__ = ["Minimized", "NotInteresting", "length", "minimize", "simplicity_key"]
