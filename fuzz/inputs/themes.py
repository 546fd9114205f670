"""Groups of operations that share state, because a race is between two that do.

If two or three of thirty kinds are drawn at random, a given pair occurs once in a hundred scenarios, and a race needs
its pair, the right layout and the right pauses together. With kinds drawn freely, move-before-mkclean, pmd-unchecked
and pmd-none-before-copy occurred in none of 60,000 scenarios; among the scenarios of their theme they occur in 8, 11
and 2 of 10,000.
"""

from typing import Final, NamedTuple

from shootdown.mm.operations import OPERATIONS


class Theme(NamedTuple):
    """A state, and the kinds of operation that share it."""

    shared: str
    kinds: tuple[int, ...]
    cpus: int
    """How many CPUs its deepest race has, each with its own part."""
    weight: int
    """How often it is drawn; more than once if the slowest race of the catalogue belongs to it."""


def _theme(shared: str, cpus: int = 1, weight: int = 1) -> Theme:
    kinds = tuple(each.number for each in OPERATIONS if shared in each.shares)
    if len(kinds) < 2:
        message = f"'{shared}' is shared by fewer than two operations"
        raise ValueError(message)
    return Theme(shared, kinds, cpus, weight)


THEMES: Final = (
    _theme("rights of an entry"),
    _theme("rmap of a page of the file"),
    _theme("write of a page of the file"),
    _theme("a page with a reference", cpus=5, weight=2),
    _theme("a page that goes"),
    _theme("a page that is copied"),
    _theme("content of two pages"),
    _theme("hint of a page", weight=2),
    _theme("PMD of a huge page"),
    _theme("huge zero page"),
    _theme("protection keys"),
    _theme("pages of a driver"),
    _theme("page table under a walker"),
    _theme("page table of a lazy CPU", weight=2),
    _theme("loaded address space"),
)
for _each in OPERATIONS:
    _unknown = set(_each.shares) - {theme.shared for theme in THEMES}
    if _unknown:
        _message = f"{_each.name} shares {', '.join(sorted(_unknown))}, which is no theme"
        raise ValueError(_message)
DRAWN: Final = tuple(theme for theme in THEMES for _ in range(theme.weight))
"""The themes; repetitions are the weights."""
