"""When the hardware's choices make a difference: evictions before an access or a fill, and fills before a change.

docs/correctness.md section 7 says why all other choices may be left out.
"""

from typing import Final, NamedTuple

from shootdown.machine.caches import FETCH, HUGE_KEY, ISSUED_AT, TAG_AT, UPPER_AT
from shootdown.machine.entry import ACCESSED, EXEC, PRESENT, PSE
from shootdown.mm.world import World
from shootdown.prove.moves import (
    EVICT,
    EVICT_BOTH,
    EVICT_FETCH,
    EVICT_UPPER,
    FILL,
    FILL_FETCH,
    move_of,
)

_FRESH: Final = PRESENT | ACCESSED


class Walks(NamedTuple):
    """What a fill of each page by each CPU would read."""

    cached: list[int]
    """For each CPU and page the upper entry, from the paging-structure cache if it is there, and the leaf below it."""
    direct: dict[tuple[int, int], tuple[int, int]]
    """The same after an eviction of the cached upper entry, where that makes a difference."""


NO_WALKS: Final = Walks([], {})
"""The walks of a move after which they are not needed."""


def evictions_before(w: World, cpu: int, page: int, kind: int) -> list[tuple[int, ...]]:
    """Return the evictions that make a difference to an access of the page by the CPU, each as one or more moves."""
    side = FETCH if kind == EXEC and w.machine.split_tlb else 0
    found = _translations(w, cpu, page, side)
    if _has_stale_upper(w, cpu, page):
        upper = move_of(EVICT_UPPER + page, cpu)
        found += [(*moves, upper) for moves in found]
    return found[1:]


def fills_of(w: World, cpu: int, page: int) -> list[tuple[int, ...]]:
    """Return the moves that leave the page cached as the tables are, in each TLB, through each upper entry
    that exists.

    After the moves no flush is waiting to be carried out.
    """
    stale = _has_stale_upper(w, cpu, page)
    awaited = w.machine.pcid[cpu] << ISSUED_AT | page in w.machine.issued[cpu]
    found: list[tuple[int, ...]] = []
    for side in (0, FETCH) if w.machine.split_tlb else (0,):
        fill = move_of((FILL_FETCH if side else FILL) + page, cpu)
        evicted = _translations(w, cpu, page, side)[-1]
        if stale or not awaited:
            found.append((*evicted, fill))
        if stale:
            found.append((*evicted, move_of(EVICT_UPPER + page, cpu), fill))
        if awaited:
            found.append((move_of(EVICT_BOTH + page, cpu), fill))
    return found


def _translations(w: World, cpu: int, page: int, side: int) -> list[tuple[int, ...]]:
    """Return the moves that evict none, one, or more of the translations of a page that a CPU has in one TLB under its
    PCID.
    """
    tag = side | w.machine.pcid[cpu] << TAG_AT
    tlb = w.machine.tlb[cpu]
    cached = (tag | page in tlb) + (tag | HUGE_KEY | page >> 2 in tlb)
    evict = move_of((EVICT_FETCH if side else EVICT) + page, cpu)
    return [(evict,) * n for n in range(cached + 1)]


def _has_stale_upper(w: World, cpu: int, page: int) -> bool:
    """Return whether a walk would differ without the cached upper entry, because memory has another one."""
    machine = w.machine
    upper = machine.psc[cpu].get(machine.pcid[cpu] << UPPER_AT | page >> 2, -1)
    root = machine.cr3[cpu]
    return upper >= 0 <= root and machine.memory[root << 2 | page >> 2] != upper | ACCESSED


def _leaf_below(memory: list[int], upper: int, page: int) -> int:
    if upper & (PRESENT | PSE) != PRESENT:
        return 0
    return memory[((upper >> 19) & 60 | (upper >> 12) & 3) << 2 | page & 3]


def walks_of(w: World) -> Walks:
    """Return what every fill would read."""
    machine = w.machine
    memory = machine.memory
    cached: list[int] = []
    direct: dict[tuple[int, int], tuple[int, int]] = {}
    for cpu in range(w.cpus):
        root = machine.cr3[cpu]
        psc = machine.psc[cpu]
        tag = machine.pcid[cpu] << UPPER_AT
        for page in range(w.pages):
            upper = leaf = 0
            if root >= 0:
                upper = psc.get(tag | page >> 2, -1)
                if upper < 0:
                    upper = memory[root << 2 | page >> 2]
                else:
                    there = memory[root << 2 | page >> 2]
                    if there != upper | ACCESSED:
                        direct[cpu, page] = there, _leaf_below(memory, there, page)
                leaf = _leaf_below(memory, upper, page)
            cached.append(upper)
            cached.append(leaf)
    return Walks(cached, direct)


def visible(w: World, walks: Walks) -> set[tuple[int, int]]:
    """Return each CPU and page for which a fill would set the accessed bit, which others can see at once.

    Such a fill cannot wait: an operation that ages the page, or that checks whether an entry is unchanged, changes no
    walk but shows the bit.
    """
    cached = walks.cached
    found = {
        ((i >> 1) // w.pages, (i >> 1) % w.pages)
        for i in range(0, len(cached), 2)
        if cached[i] & _FRESH == PRESENT or cached[i + 1] & _FRESH == PRESENT
    }
    for place, (upper, leaf) in walks.direct.items():
        if upper & _FRESH == PRESENT or leaf & _FRESH == PRESENT:
            found.add(place)
    return found


def compare(w: World, walks: Walks, fills: set[tuple[int, int]]) -> None:
    """Add each CPU and page for which a fill reads something else than before."""
    before, after = walks.cached, walks_of(w)
    if after.cached != before:
        for i in range(0, len(before), 2):
            if before[i] != after.cached[i] or before[i + 1] != after.cached[i + 1]:
                fills.add(((i >> 1) // w.pages, (i >> 1) % w.pages))
    for place, read in walks.direct.items():
        if after.direct.get(place) != read:
            fills.add(place)
    for place in after.direct.keys() - walks.direct.keys():
        # After the move the old tables can be read only through an upper entry that is to be dropped.
        cpu, page = place
        if w.machine.pcid[cpu] << ISSUED_AT | page in w.machine.issued[cpu]:
            fills.add(place)
