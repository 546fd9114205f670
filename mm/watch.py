"""The watch: a look at each step that a CPU makes, for traces and tests."""

from mypy_extensions import mypyc_attr

from shootdown.mm.state import State, Step


@mypyc_attr(allow_interpreted_subclasses=True)
class Watch:
    """A receiver of each step that a CPU tries, which changes nothing in the world; this base ignores all of them."""

    def begins(self, cpu: int, current: Step) -> None:
        """The CPU tries the step."""

    def blocked(self) -> None:
        """The step that began could not run, and has changed nothing."""

    def said(self, what: str) -> None:
        """The step that began has done something of which the state of the world shows nothing, in words."""

    def decided(self, cpu: int, what: str) -> None:
        """A kernel's own text has decided something about the CPU in the step that began, in words."""

    def executed(self, w: State, cpu: int, current: Step) -> None:
        """The CPU has executed the step that began."""
