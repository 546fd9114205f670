"""All judges together, on one world, which can be forked with them."""

from mypy_extensions import mypyc_attr

from shootdown.mm.world import World
from shootdown.run.oracle.rest import RestJudge


@mypyc_attr(allow_interpreted_subclasses=True)
class Oracle(RestJudge):
    """The observer mm.observer.Observer that judges by the rules C1 to C7.

    Each judge extends another one, although not all of them build on each other, because a compiled class has one base.
    Errors: Violation, at the event that breaks a rule.
    """

    def fork(self) -> tuple[World, "Oracle"]:
        """Return a copy of the observed world, with its own oracle in the same state as this one."""
        w = self.world.copy()
        other = Oracle(w.machine, w.cpus, self)
        w.observer = other
        other.world = w
        other.contract = self.contract.copy_for(w.steps)
        other.skips = self.skips.copy()
        other.explained = self.explained
        return w, other
