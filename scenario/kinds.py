"""The vocabulary of scenarios: every kind of record, pause point, layout and machine switch.

The kinds are the operations, each with its own declaration (mm/declaration.py), and the choices of the schedule and of
the hardware, which are listed here; the switches are in scenario/switches.py. The binary form, the text form, the
generator and the mutators read these tables.
Positions are part of the binary form: append, never reorder.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from shootdown.machine.geometry import PAGES
from shootdown.mm.arguments import DESTINATION as DESTINATION
from shootdown.mm.arguments import MAP_FILE as MAP_FILE
from shootdown.mm.arguments import MAP_HUGE as MAP_HUGE
from shootdown.mm.arguments import MAP_PRIVATE as MAP_PRIVATE
from shootdown.mm.arguments import MAP_SHARED as MAP_SHARED
from shootdown.mm.arguments import MAP_SHIFT as MAP_SHIFT
from shootdown.mm.arguments import MAPPING as MAPPING
from shootdown.mm.arguments import NO_ARGUMENT as NO_ARGUMENT
from shootdown.mm.arguments import PKEY_SHIFT as PKEY_SHIFT
from shootdown.mm.arguments import PROT_EXEC as PROT_EXEC
from shootdown.mm.arguments import PROT_READ as PROT_READ
from shootdown.mm.arguments import PROT_WRITE as PROT_WRITE
from shootdown.mm.arguments import PROTECTION as PROTECTION
from shootdown.mm.arguments import PROTECTIONS as PROTECTIONS
from shootdown.mm.arguments import SPACE as SPACE
from shootdown.mm.arguments import Argument
from shootdown.mm.declaration import Pages
from shootdown.mm.operations import BY_NAME
from shootdown.mm.operations import OPERATIONS as DECLARED
from shootdown.mm.state import MMS
from shootdown.mm.step import STEP_POINTS
from shootdown.scenario.switches import AMD as AMD
from shootdown.scenario.switches import FRACTURED as FRACTURED
from shootdown.scenario.switches import HUGE_ZERO as HUGE_ZERO
from shootdown.scenario.switches import INVLPGB as INVLPGB
from shootdown.scenario.switches import NO_DIRTY_REWALK as NO_DIRTY_REWALK
from shootdown.scenario.switches import SPLIT_TLB as SPLIT_TLB
from shootdown.scenario.switches import STRAY_DIRTY as STRAY_DIRTY
from shootdown.scenario.switches import SWITCHES as SWITCHES

# Choices of the schedule and of the hardware.
RUN: Final = 18
FILL: Final = 19
EVICT: Final = 20


def _number(name: str) -> int:
    """Return the number of an operation that the code refers to by name."""
    return BY_NAME[name].number


READ: Final = _number("read")
WRITE: Final = _number("write")
EXEC: Final = _number("exec")
MPROTECT: Final = _number("mprotect")
MUNMAP: Final = _number("munmap")
MMAP: Final = _number("mmap")
DONTNEED: Final = _number("dontneed")
FREE: Final = _number("free")
FORK: Final = _number("fork")
UFFD_REGISTER: Final = _number("uffd_register")
UFFD_WP: Final = _number("uffd_wp")
UFFD_UNWP: Final = _number("uffd_unwp")
MREMAP: Final = _number("mremap")
SWITCH: Final = _number("switch")
LAZY: Final = _number("lazy")
MIGRATE: Final = _number("migrate")
RECLAIM: Final = _number("reclaim")
AGE: Final = _number("age")
CLEAR_REFS: Final = _number("clear_refs")
WRITEBACK: Final = _number("writeback")
PUNCH: Final = _number("punch")
COLLAPSE: Final = _number("collapse")
EXIT: Final = _number("exit")
POKE: Final = _number("poke")
TICK: Final = _number("tick")
PIN: Final = _number("pin")
NUMA_SCAN: Final = _number("numa_scan")
SWAPOUT: Final = _number("swapout")
COPY: Final = _number("copy")
KSM: Final = _number("ksm")
SHRINK: Final = _number("shrink")
REVOKE: Final = _number("revoke")
PKEY_MPROTECT: Final = _number("pkey_mprotect")
WRPKRU: Final = _number("wrpkru")

# Limits of the header fields.
MAX_CPUS: Final = 8
MAX_PAGES: Final = PAGES
MAX_ASIDS: Final = 6
MAX_BATCH: Final = 4
MAX_SPACES: Final = MMS


def _hardware(expected: str, *names: str) -> Argument:
    return Argument(expected, names, tuple(range(len(names))))


# Without an argument, a choice of the hardware means what it meant before arguments existed.
FILLED: Final = _hardware("'fetch' or the end of the line", "", "fetch")
EVICTED: Final = _hardware(
    "what is evicted (upper, both, fetch) or the end of the line", "", "upper", "both", "fetch"
)


class Kind(NamedTuple):
    """One kind of record: which fields it uses and how it is written."""

    name: str
    """The first word after the CPU in text."""
    pages: Pages
    """Whether the record names no page, one page, or a range of consecutive pages."""
    pausable: bool
    """Whether the record has steps at which the CPU can pause; if not, its run field is 0."""
    argument: Argument
    summary: str


_CHOICES: Final = {
    RUN: Kind(
        name="run",
        pages="none",
        pausable=True,
        argument=NO_ARGUMENT,
        summary="go on with the operation that the CPU has in flight",
    ),
    FILL: Kind(
        name="fill",
        pages="one",
        pausable=False,
        argument=FILLED,
        summary="speculative fill of the TLB for a page",
    ),
    EVICT: Kind(
        name="evict",
        pages="one",
        pausable=False,
        argument=EVICTED,
        summary="eviction of what a CPU has cached for a page",
    ),
}
_KINDS: Final = _CHOICES | {
    each.number: Kind(
        name=each.name,
        pages=each.pages,
        pausable=True,
        argument=each.argument,
        summary=each.summary,
    )
    for each in DECLARED
}
if sorted(_KINDS) != list(range(len(_CHOICES) + len(DECLARED))):
    _message = f"the next free number of an operation is {len(_CHOICES) + len(DECLARED) - 1}"
    raise ValueError(_message)
# Pages are those of the CPU's current address space, unless the argument names another.
KINDS: Final[tuple[Kind, ...]] = tuple(_KINDS[number] for number in range(len(_KINDS)))

OPERATIONS: Final[tuple[int, ...]] = tuple(each.number for each in DECLARED)
"""The operations that a CPU can begin; the other kinds are choices of the schedule and of the hardware."""

# The run field: 0 runs to completion, 1 to MAX_STEPS pauses after that many steps, and
# FIRST_POINT + i pauses before the first step of POINTS[i]. Values above these are reserved.
# The point "window" is not a step: it pauses where the operation has left a translation stale on another CPU and holds
# no page-table lock (run/window.py). Its position is part of the binary form, as those of the points before it are.
MAX_STEPS: Final = 15
FIRST_POINT: Final = 16
WINDOW: Final = 29
_BEFORE_WINDOW: Final = WINDOW - FIRST_POINT
POINTS: Final[tuple[str, ...]] = (
    *STEP_POINTS[:_BEFORE_WINDOW],
    "window",
    *STEP_POINTS[_BEFORE_WINDOW:],
)
RUNS: Final = 64
"""The number of values that the binary form has for the run field."""
if FIRST_POINT + len(POINTS) > RUNS:
    _message = f"there are {len(POINTS)} points, and the binary form has {RUNS - FIRST_POINT} values for them"
    raise ValueError(_message)


def pauses_at(points: Collection[str]) -> tuple[int, ...]:
    """Return the run fields that pause at one of the points at which a strategy can stop, or in a window."""
    return tuple(
        run for run, name in enumerate(POINTS, FIRST_POINT) if name in points or run == WINDOW
    )


# The mappings of address space 0 at the start, over all pages and with nothing populated.
LAYOUTS: Final = ("private", "empty", "shared", "huge", "readonly", "file", "pfnmap")
PRIVATE: Final = 0
EMPTY: Final = 1
SHARED: Final = 2
HUGE: Final = 3
READONLY: Final = 4
FILE: Final = 5
PFNMAP: Final = 6

for _each in DECLARED:
    _unknown = set(_each.layouts) - set(LAYOUTS)
    if _unknown:
        _message = f"{_each.name} declares the layout {', '.join(sorted(_unknown))}; there are {', '.join(LAYOUTS)}"
        raise ValueError(_message)
