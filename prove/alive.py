"""Which versions of a page an access may still show, besides the newest."""

from shootdown.machine.entry import EXEC, READ, WRITE
from shootdown.reference.version import INCARNATION
from shootdown.run.oracle import Oracle


def explaining(oracle: Oracle, slot: int) -> list[tuple[int, int]]:
    """Return the older versions that explain something, with their positions, the newest first.

    A version explains nothing that its frame's present incarnation, a newer version of the same key or a floor takes
    from it.
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
    # By incarnation and key: what newer versions explain.
    covered = {last >> 3 & 0x1FFFFF: last & 7}
    while index > lowest:
        index -= 1
        version = versions[index]
        grants = version & 7
        if not grants:
            continue
        place = version >> 3 & 0x1FFFFF
        if generation[place & 63] != (place & INCARNATION) >> 6:
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
            found.append((index, version & ~7 | grants))
    return found
