"""The oracle, which checks every event of a run with the reference's history and stops at the first illegal one.

Each part of mm.observer.Observer is judged in the file of its name, and a world with nothing in flight in `rest`.
Events that cannot be wrong in themselves are kept by reference.history and reference.objects.
"""

from shootdown.run.oracle.oracle import Oracle
from shootdown.run.oracle.regions import NO_SKIP
from shootdown.run.oracle.violation import Violation

__all__ = ["NO_SKIP", "Oracle", "Violation"]
