"""The progress of a proof in words."""

from collections.abc import Callable

from shootdown.prove.driver import State
from shootdown.system.pace import Pace, duration


class ProofView:
    """Writes a line when one more operation is explored, and every few seconds how far the next one is.

    The estimate is for the present number of operations only: the number of worlds of the next one is unknown.
    """

    def __init__(self, write: Callable[[str], None], ops: int) -> None:
        self.write = write
        self.ops = ops
        self.level = -1
        self.began = 0.0
        self.pace = Pace()

    def __call__(self, state: State) -> None:
        """Write what is new."""
        if state.level != self.level:
            self.level = state.level
            self.began = state.seconds
            self.pace.restart()
            if (state.level and state.position == 0) or state.level == self.ops:
                self.write(f"{state.level} of {self.ops} operations explored: {figures(state)}")
        elif self.pace.due():
            share = state.position / len(state.frontier)
            left = (state.seconds - self.began) * (1 - share) / share
            self.write(
                f"operation {state.level + 1} of {self.ops}: {share:.0%} of {len(state.frontier):,} worlds, about"
                f" {duration(left)} left; {figures(state)}"
            )


def figures(state: State) -> str:
    """Return the counters of a proof in words."""
    rate = state.transitions / state.seconds if state.seconds else 0.0
    return f"{state.worlds:,} worlds, {state.transitions:,} transitions in {duration(state.seconds)} ({rate:,.0f}/s)"
