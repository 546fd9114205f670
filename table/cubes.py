"""Contexts in few words: a set of flag settings as the fewest terms such as `D=0` or `D=1, RW=0`."""

from collections.abc import Sequence
from itertools import combinations
from typing import TypeAlias

Cube: TypeAlias = tuple[int, int]
"""`(mask, value)`: the contexts whose bits under the mask equal the value."""


def cubes_of(contexts: Sequence[int], width: int) -> list[Cube]:
    """Return the fewest cubes that cover exactly these numbers below 2 to the power of `width`.

    Every cube is as wide as possible; the same set gives the same cubes.
    """
    wanted = frozenset(contexts)
    candidates: list[tuple[Cube, frozenset[int]]] = []
    # From the widest down, so that a cube inside a wider one that is fully wanted is never taken.
    for mask in sorted(range(1 << width), key=lambda mask: (mask.bit_count(), mask)):
        for value in range(1 << width):
            inside = frozenset(c for c in range(1 << width) if c & mask == value)
            if value & ~mask or not inside <= wanted:
                continue
            if not any(inside <= wider for _, wider in candidates):
                candidates.append(((mask, value), inside))
    for number in range(1, len(candidates) + 1):
        for chosen in combinations(candidates, number):
            if frozenset().union(*(inside for _, inside in chosen)) == wanted:
                return [cube for cube, _ in chosen]
    return []


def words_of(cubes: Sequence[Cube], names: Sequence[str]) -> str:
    """Return the cubes in words, `D=0` or `D=1, RW=0; NX=1`; "" for all contexts."""
    return "; ".join(
        ", ".join(f"{name}={value >> i & 1}" for i, name in enumerate(names) if mask >> i & 1)
        for mask, value in cubes
    )
