"""A look at each step that a CPU makes, for traces and tests."""

from mypy_extensions import mypyc_attr

from shootdown.mm.state import State, Step


@mypyc_attr(allow_interpreted_subclasses=True)
class Watch:
    """Told of each step that a CPU tries, and changes nothing in the world; what it has no method for it ignores."""

    def begins(self, cpu: int, current: Step) -> None:
        """The CPU tries the step."""

    def blocked(self) -> None:
        """The step that began could not run, and has changed nothing."""

    def executed(self, w: State, cpu: int, current: Step) -> None:
        """The CPU has executed the step that began."""
