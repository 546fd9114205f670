"""The source of random draws, as a type: the caller of a generator owns seed and state."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Draws(Protocol):
    """The methods of `random.Random` that generators, mutators and schedules use.

    It is a protocol and not the class, so that nothing in this package imports `random`: code that cannot make its own
    source cannot draw anything that the caller's seed does not determine.
    """

    def random(self) -> float:
        """Return a number in [0, 1)."""

    def randrange(self, start: int, stop: int, /) -> int:
        """Return an integer in [start, stop)."""

    def randbytes(self, n: int, /) -> bytes:
        """Return n bytes."""

    def choice(self, seq: Sequence[T], /) -> T:
        """Return one element of a sequence that is not empty."""

    def sample(self, population: Sequence[T], /, k: int) -> list[T]:
        """Return k elements from different positions."""
