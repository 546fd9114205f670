"""Scenarios in the shape that the races of the field have: warm the TLBs, open a window, meet in it, look.

Every race of docs/linux-tlb.md part E is one such round: some CPUs access a page, an operation on it pauses, a second
operation comes to the same page or takes the same locks and generations, and somebody accesses the page.
Among operations drawn one by one such a round is rare: in five scenarios of 32 records one record left a translation
stale on another CPU, and the races that need two operations in one window came up less than once in 100,000.
"""

from collections.abc import Sequence
from typing import Final

from fuzz.scenario import kinds
from fuzz.scenario.binary import WIDTH, decode, encode
from fuzz.scenario.draws import Draws
from fuzz.scenario.kinds import (
    COLLAPSE,
    COPY,
    EXEC,
    EXIT,
    FILE,
    FILL,
    FORK,
    FREE,
    HUGE,
    KINDS,
    KSM,
    LAZY,
    MAX_SPACES,
    MMAP,
    MPROTECT,
    MREMAP,
    NUMA_SCAN,
    PKEY_MPROTECT,
    POKE,
    PRIVATE,
    PUNCH,
    READ,
    RUN,
    SPACE,
    SWAPOUT,
    SWITCH,
    UFFD_REGISTER,
    UFFD_UNWP,
    UFFD_WP,
    WRITE,
    WRITEBACK,
    WRPKRU,
)
from fuzz.scenario.record import Header, Scenario
from fuzz.scenario.schedule import CUTS
from machine.geometry import FANOUT, PAGES
from mm.operations import (
    ALONE,
    BEGIN_EXCLUSIVE,
    BY_KERNEL_THREAD,
    EXCLUSIVE,
    LOCKLESS,
    LOCKS_FOR_READING,
)

OPERATIONS: Final = tuple(kind for kind in kinds.OPERATIONS if kind >= MPROTECT)
_WARM: Final = (READ, WRITE, WRITE, WRITE, EXEC, FILL)
_LOOK: Final = (READ, WRITE, WRITE, EXEC, FILL)
_READ_WRITE: Final = 3
_NOWHERE, _ANYWHERE, _TOGETHER = range(3)
NEEDS: Final = {UFFD_WP: UFFD_REGISTER, UFFD_UNWP: UFFD_REGISTER, EXIT: FORK, PKEY_MPROTECT: WRPKRU}
"""The operation without which one of this kind is refused with no effect, or which makes no difference."""
LAYOUT_FOR: Final = {
    SWAPOUT: PRIVATE,
    KSM: PRIVATE,
    WRITEBACK: FILE,
    PUNCH: FILE,
    COLLAPSE: HUGE,
}
"""What must be mapped if an operation of this kind is to find anything; the last one that is among the kinds wins."""
HUGE_HINTS: Final = 0.5
"""How often NUMA hints are for huge pages, whose hint faults are others than those of small pages."""
HINT_FAULTS: Final = 0.5
"""How often what is in flight in a round of a NUMA scan is not the scan but a fault behind it."""
ALL_PAGES: Final = PAGES - 1 << 3
THIRD: Final = 0.15
"""How often two operations pause at one point on one page, each on its CPU, and a third one comes through: what a page
looks like between two gathers that overlap, neither of them flushed (b3a81d0841a9, 16af97dc5a89)."""
_WITHOUT_LOCK: Final = [
    kind
    for kind in OPERATIONS
    if KINDS[kind].name in (BY_KERNEL_THREAD | LOCKLESS) - EXCLUSIVE - LOCKS_FOR_READING
]
_SHARING: Final = [
    kind for kind in OPERATIONS if KINDS[kind].name not in EXCLUSIVE | ALONE | BEGIN_EXCLUSIVE
]
MEETS: Final = {
    kind: list(OPERATIONS)
    if kind in _WITHOUT_LOCK
    else _WITHOUT_LOCK
    if KINDS[kind].name in EXCLUSIVE | ALONE
    else _SHARING
    for kind in OPERATIONS
}
"""By an operation in flight, what can overlap with it. Whoever holds mmap_lock for writing meets only those that come
without it, by the rmap, from the scheduler or without any lock, and so does who is alone; drawn blindly, the second
operation of such a round mostly waits."""
ELSEWHERE: Final = 0.25
ELSEWHERE_TOGETHER: Final = 0.6
"""How often the second operation goes to another page, because two operations share the generations and locks of a
space; more often where both pause at the same point: with two flushes on their way the pages must differ, if the one is
to be taken for the other (partial-by-local: a median of 36,000 executions of the random engine, before)."""


def race_scenario(
    draws: Draws, header: Header, operations: Sequence[int], records: int
) -> Scenario:
    """Return a canonical scenario of that many records: rounds whose operations are of the given kinds.

    What one of these kinds cannot do without comes first, over all pages: drawn as an operation of a round it would
    have to come on the right page, rounds before the race that needs it.
    Some need a layout, and a collapse a region over 2 MiB in it: with the header as drawn, one scenario in two thousand
    collapsed anything.
    """
    hints_are_huge = NUMA_SCAN in operations and draws.random() < HUGE_HINTS
    if hints_are_huge:
        header = header._replace(layout=HUGE)
    for kind, layout in LAYOUT_FOR.items():
        if kind in operations:
            header = header._replace(layout=layout)
    if COLLAPSE in operations or hints_are_huge:
        header = header._replace(pages=max(header.pages, FANOUT))
    if KSM in operations:
        header = header._replace(pages=max(header.pages, 2), cpus=max(header.cpus, 3))
        # A merge asks whether an entry is clean and read-only: it takes two calls to make it look so for a while.
        operations = [*operations, FREE, UFFD_WP]
    body = bytearray()
    for kind in sorted({NEEDS[kind] for kind in operations if kind in NEEDS}):
        body += bytes((kind, draws.randrange(0, header.cpus), ALL_PAGES, 0))
    if EXIT in operations:
        # Exit is refused while another CPU runs the address space: the others go to the child, or to a kernel thread.
        first = draws.randrange(0, header.cpus)
        for distance in range(1, header.cpus):
            cpu = (first + distance) % header.cpus
            body += bytes((draws.choice((SWITCH, LAZY)), cpu, 0, 1))
    while len(body) < WIDTH * records:
        _round(draws, header, operations, body)
    return decode(encode(Scenario(header, ())) + body[: WIDTH * records])


def _round(draws: Draws, header: Header, operations: Sequence[int], body: bytearray) -> None:
    cpus, pages = header.cpus, header.pages
    page = draws.randrange(0, pages)
    # Where the second operation pauses: nowhere, anywhere, or where the first one does; the last for two flushes on
    # their way at once, or two copies, because to draw a point twice is rare.
    second = draws.choice((_NOWHERE, _NOWHERE, _TOGETHER, _ANYWHERE))
    apart = ELSEWHERE_TOGETHER if second == _TOGETHER else ELSEWHERE
    elsewhere = draws.randrange(0, pages) if draws.random() < apart else page
    for _ in range(draws.randrange(1, 4)):
        # A CPU that holds one page alone misses the half of a batch that a lost range drops.
        warm, cpu = draws.choice(_WARM), draws.randrange(0, cpus)
        for at in sorted({page, elsewhere}):
            body += bytes((warm, cpu, at, 0))
    if KSM in operations:
        # The contents of stores differ, so two pages are alike only when one was copied to the other.
        cpu, source = draws.randrange(0, cpus), (page + draws.randrange(1, pages)) % pages
        body += bytes((WRITE, cpu, source, 0, COPY, cpu, source, page))
    first = draws.randrange(0, cpus)
    kind = draws.choice(operations)
    arg = _argument(draws, operations, kind)
    cut = draws.choice(CUTS)
    if kind == POKE and draws.random() < 0.5:
        # A kernel thread patches text as well, and has somebody's page tables loaded.
        body += bytes((LAZY, first, 0, 0))
    if kind == NUMA_SCAN and draws.random() < HINT_FAULTS:
        # The scan is over, and what others meet is a hint fault, sometimes when one of them has had its own.
        body += bytes((kind, first, _span(draws, page), arg))
        body += bytes((draws.choice((READ, WRITE)), first | cut << 3, page, 0))
        if draws.random() < 0.5:
            body += bytes((draws.choice((READ, WRITE)), draws.randrange(0, cpus), page, 0))
    else:
        body += bytes((kind, first | cut << 3, _span(draws, page), arg))
    partners = [other for other in operations if other in MEETS[kind]] or MEETS[kind]
    meeting = arg % pages if kind == MREMAP else elsewhere
    other = first
    third = cpus > 2 and draws.random() < THIRD
    if third:
        meeting = page
    for turn in range(2 if third else draws.randrange(1, 3)):
        if third:
            other = (other + 1) % cpus
            run = 0 if turn else cut
        else:
            other = (first + draws.randrange(1, max(cpus, 2))) % cpus
            run = 0 if second == _NOWHERE else cut if second == _TOGETHER else draws.choice(CUTS)
        kind = draws.choice(partners)
        arg = _argument(draws, operations, kind)
        body += bytes((kind, other | run << 3, _span(draws, meeting), arg))
    for turn in range(draws.randrange(1, 4)):
        at = meeting if draws.random() < 0.5 else page
        body += bytes((draws.choice(_LOOK), draws.randrange(0, cpus), at, 0))
        if not turn:
            for cpu in draws.choice(((first,), (first,), (first, other), (other, first))):
                body += bytes((RUN, cpu, 0, 0))
    if draws.random() < 0.5:
        # What the round has taken away would leave the next one nothing to race for.
        repair = MMAP if draws.random() < 0.5 else MPROTECT
        body += bytes((repair, draws.randrange(0, cpus), page, _READ_WRITE))


def _argument(draws: Draws, operations: Sequence[int], kind: int) -> int:
    """Return the byte of an argument; an address space is mostly the first one, the only one without a fork."""
    arg = draws.randrange(0, 256)
    forks = FORK in operations or EXIT in operations
    if forks or KINDS[kind].argument is not SPACE or draws.random() < 0.5:
        return arg
    return arg - arg % MAX_SPACES


def _span(draws: Draws, page: int) -> int:
    """Return the byte of a range: mostly the page alone, sometimes the huge page that it lies in, or all pages."""
    width = draws.random()
    if width < 0.7:
        return page
    return page & ~(FANOUT - 1) | FANOUT - 1 << 3 if width < 0.9 else ALL_PAGES
