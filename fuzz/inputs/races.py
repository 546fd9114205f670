"""Scenarios in the shape of real races: first what the races need, then one round after the other.

Among operations that are drawn one by one such a round is rare: in five scenarios of 32 records, one record left a
translation stale on another CPU, and the races that need two operations in one window occurred less than once in
100,000.
"""

from collections.abc import Sequence
from typing import Final

from shootdown.fuzz.inputs.draws import Draws
from shootdown.fuzz.inputs.pauses import OF_MODELS, Pauses
from shootdown.fuzz.inputs.race_round import ALL_PAGES, Round
from shootdown.machine.geometry import FANOUT
from shootdown.mm.operations import BY_NAME, BY_NUMBER
from shootdown.scenario.binary import WIDTH, decode, encode
from shootdown.scenario.kinds import (
    COLLAPSE,
    EXIT,
    FREE,
    HUGE,
    HUGE_ZERO,
    KSM,
    LAYOUTS,
    LAZY,
    MUNMAP,
    NUMA_SCAN,
    SHRINK,
    SWITCH,
    UFFD_WP,
)
from shootdown.scenario.record import Header, Scenario

HUGE_HINTS: Final = 0.5
"""How often NUMA hints are for huge pages, whose hint faults differ from those of small pages."""


def race_scenario(
    draws: Draws,
    header: Header,
    operations: Sequence[int],
    records: int,
    pauses: Pauses = OF_MODELS,
) -> Scenario:
    """Return a canonical scenario with that many records: rounds whose operations are of the given kinds.

    The operations that one of these kinds needs come first, over all pages: if they were drawn in a round, they would
    have to hit the right page, rounds before the race that needs them.
    """
    header = _header(draws, header, operations)
    if KSM in operations:
        # A merge checks whether an entry is clean and read-only: it takes two calls to make the entry look so for a
        # while.
        operations = [*operations, FREE, UFFD_WP]
    body = bytearray()
    for kind in sorted({needed for each in operations for needed in needs_of(each)}):
        body += bytes((kind, draws.randrange(0, header.cpus), ALL_PAGES, 0))
    if EXIT in operations:
        # Exit is refused while another CPU runs the address space: the others go to the child, or to a kernel thread.
        first = draws.randrange(0, header.cpus)
        for distance in range(1, header.cpus):
            cpu = (first + distance) % header.cpus
            body += bytes((draws.choice((SWITCH, LAZY)), cpu, 0, 1))
    while len(body) < WIDTH * records:
        Round(draws, header, operations, body, pauses).append()
    return decode(encode(Scenario(header, ())) + body[: WIDTH * records])


def needs_of(kind: int) -> list[int]:
    """Return the kinds of operation without which one of this kind has no effect, or makes no difference."""
    return [BY_NAME[name].number for name in BY_NUMBER[kind].needs]


def _header(draws: Draws, header: Header, operations: Sequence[int]) -> Header:
    """Return the header with what these kinds need.

    Some kinds need a layout, and a collapse needs a region over 2 MiB in it: with the header as drawn, only one
    scenario in two thousand collapsed anything.
    """
    hints_are_huge = NUMA_SCAN in operations and draws.random() < HUGE_HINTS
    if hints_are_huge:
        header = header._replace(layout=HUGE)
    layouts = _layouts_for(operations)
    if layouts:
        header = header._replace(layout=draws.choice(layouts))
    if SHRINK in operations:
        header = header._replace(machine=header.machine | HUGE_ZERO)
    if COLLAPSE in operations or SHRINK in operations or hints_are_huge:
        header = header._replace(pages=max(header.pages, FANOUT))
    if KSM in operations:
        header = header._replace(pages=max(header.pages, 2), cpus=max(header.cpus, 3))
    if MUNMAP in operations and LAZY in operations:
        # One table is removed, and another one serves everything else that uses the address space.
        header = header._replace(pages=max(header.pages, FANOUT + 1))
    return header


def _layouts_for(operations: Sequence[int]) -> list[int]:
    """Return the layouts in which all operations find something; if there is none, those of the last operation."""
    wanted = [each.layouts for each in map(BY_NUMBER.__getitem__, operations) if each.layouts]
    if not wanted:
        return []
    common = [name for name in wanted[-1] if all(name in layouts for layouts in wanted)]
    return [LAYOUTS.index(name) for name in common or wanted[-1]]
