"""All judges together, on one world, with which they can be forked."""

from mypy_extensions import mypyc_attr

from shootdown.mm.world import World
from shootdown.run.oracle.rest import RestJudge


@mypyc_attr(allow_interpreted_subclasses=True)
class Oracle(RestJudge):
    """Implements mm.observer.Observer by the rules C1 to C7; raises Violation at the event that breaks one.

    A judge extends the one before it, though not all of them build on each other: a compiled class has one base.
    """

    def fork(self) -> tuple[World, "Oracle"]:
        """Return a copy of the observed world with an oracle of its own that knows what this one does."""
        w = self.world.copy()
        other = Oracle(w.machine, w.cpus, self)
        w.observer = other
        other.world = w
        other.contract = self.contract.copy_for(w.steps)
        other.skips = self.skips.copy()
        other.explained = self.explained
        return w, other
