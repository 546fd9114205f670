"""Which versions of a page an access may still show, besides the newest."""

from typing import Final

from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.machine.geometry import FRAME_MASK
from shootdown.machine.tlb_entry import GENERATION_AT
from shootdown.reference.version import GRANTS, INCARNATION, PLACE_AT, SEEN
from shootdown.run.oracle import Oracle

_PLACE: Final = SEEN >> PLACE_AT
"""The bits of an incarnation and a key; a key has them in the place of the incarnation."""


def explaining(oracle: Oracle, slot: int) -> list[tuple[int, int]]:
    """Return the older versions that explain something, with their positions, the newest first.

    A version explains nothing that is ruled out by the present incarnation of its frame, by a newer version of the same
    key, or by a floor.
    """
    versions = oracle.versions[slot]
    readable = oracle.floor[READ][slot]
    writable = oracle.floor[WRITE][slot]
    executable = oracle.floor[EXEC][slot]
    index = len(versions) - 1
    lowest = min(readable, writable, executable)
    found: list[tuple[int, int]] = []
    if index <= lowest:
        return found
    generation = oracle.generation
    last = versions[index]
    # For each incarnation and key: what newer versions explain.
    covered = {last >> PLACE_AT & _PLACE: last & GRANTS}
    while index > lowest:
        index -= 1
        version = versions[index]
        grants = version & GRANTS
        if not grants:
            continue
        place = version >> PLACE_AT & _PLACE
        if generation[place & FRAME_MASK] != (place & INCARNATION) >> GENERATION_AT:
            continue
        if index < readable:
            grants &= ~READ
        if index < writable:
            grants &= ~WRITE
        if index < executable:
            grants &= ~EXEC
        old = covered.get(place, 0)
        grants &= ~old
        if grants:
            covered[place] = old | grants
            found.append((index, version & ~GRANTS | grants))
    return found
