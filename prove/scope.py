"""What a proof covers: the machine, how many operations, and which."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from shootdown.prove.visited import MOST
from shootdown.scenario import kinds
from shootdown.scenario.record import Header, Record
from shootdown.scenario.switches import names_of
from shootdown.scenario.verdict import RULES
from shootdown.system.user_error import UserError

OPERATIONS: Final = (
    "read",
    "write",
    "exec",
    "mprotect",
    "uffd_register",
    "uffd_wp",
    "uffd_unwp",
    "fork",
    "munmap",
)
"""The default scope."""
_BY_NAME: Final = {kinds.KINDS[number].name: number for number in kinds.OPERATIONS}


class UnusableScope(UserError):
    """An impossible bound: a number beyond its limit, or an unknown name."""


class Scope(NamedTuple):
    """A bound: every sequence of up to `ops` operations of `alphabet`, on every CPU, in every interleaving."""

    header: Header
    ops: int
    names: tuple[str, ...]
    alphabet: tuple[Record, ...]
    """The operations that can start on a CPU, as records of CPU 0 that run to completion."""

    def huge(self) -> bool:
        """Return whether huge pages are possible."""
        return self.header.layout == kinds.HUGE or any(
            record[0] == kinds.MMAP and record[5] >> kinds.MAP_SHIFT == kinds.MAP_HUGE
            for record in self.alphabet
        )

    def words(self) -> str:
        """Return the scope in words."""
        header = self.header
        layout = kinds.LAYOUTS[header.layout]
        switches = names_of(header.machine)
        machine = f", machine {' '.join(switches)}" if switches else ""
        return (
            f"{header.cpus} CPU{'s' * (header.cpus > 1)}, {header.pages} page{'s' * (header.pages > 1)}"
            f" ({layout}{machine}, {header.asids} ASID{'s' * (header.asids > 1)}, batch {header.batch}),"
            f" up to {self.ops} operations of {', '.join(self.names)};"
            " speculative fill and eviction at any time"
        )


def header_of(
    *, cpus: int, pages: int, layout: str, machine: Iterable[str], asids: int, batch: int
) -> Header:
    """Return the header of a scenario with these numbers and names.

    Errors: UnusableScope.
    """
    _within("cpus", cpus, kinds.MAX_CPUS)
    _within("pages", pages, kinds.MAX_PAGES)
    _within("asids", asids, kinds.MAX_ASIDS)
    _within("batch", batch, kinds.MAX_BATCH)
    switches = sum(1 << _index("machine", name, kinds.SWITCHES) for name in set(machine))
    return Header(cpus, pages, _index("layout", layout, kinds.LAYOUTS), switches, asids, batch)


def rules_of(names: Iterable[str]) -> frozenset[str]:
    """Return the rules of these names.

    Errors: UnusableScope.
    """
    return frozenset(tuple(RULES)[_index("rule", name, tuple(RULES))] for name in names)


def _within(name: str, number: int, most: int) -> None:
    if not 1 <= number <= most:
        message = f"{name} must be from 1 to {most}, and is {number}."
        raise UnusableScope(message)


def _index(what: str, name: str, names: Sequence[str]) -> int:
    if name not in names:
        message = f"{name!r} is no {what}; there are {', '.join(names)}."
        raise UnusableScope(message)
    return names.index(name)


def scope_of(header: Header, ops: int, names: Sequence[str]) -> Scope:
    """Return the scope of the named operations, each with every range and argument that makes a difference.

    Errors: UnusableScope.
    """
    _within("ops", ops, MOST)
    alphabet: list[Record] = []
    for name in names:
        if name not in _BY_NAME:
            message = f"'{name}' is no operation; there are {', '.join(_BY_NAME)}."
            raise UnusableScope(message)
        number = _BY_NAME[name]
        for page, count in _ranges(kinds.KINDS[number].pages, header.pages):
            alphabet += [(number, 0, 0, page, count, arg) for arg in _arguments(number, header)]
    return Scope(header, ops, tuple(names), tuple(alphabet))


def _ranges(pages: str, limit: int) -> list[tuple[int, int]]:
    """Return the ranges of a record: each single page, and all pages at once if a range may be longer."""
    if pages == "none":
        return [(0, 1)]
    single = [(page, 1) for page in range(limit)]
    return [*single, (0, limit)] if pages == "range" and limit > 1 else single


def _arguments(number: int, header: Header) -> tuple[int, ...]:
    argument = kinds.KINDS[number].argument
    return tuple(range(header.pages)) if argument.of_pages else argument.different
