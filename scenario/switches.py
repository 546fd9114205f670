"""The switches of the machine that a scenario boots, each declared once.

Everything else about switches is computed from this module: their words and bits in both forms of a scenario, the
parameters of Machine (run/execute.py), the machines that campaigns draw (fuzz/inputs/generate.py) and that the table of
changes tries (table/need.py), the words of a comparison with QEMU (conform/qemu/sides.py), and the rows of
docs/scenarios.md.
"""

from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Final, NamedTuple

AMD: Final = 1
STRAY_DIRTY: Final = 2
NO_DIRTY_REWALK: Final = 4
INVLPGB: Final = 8
HUGE_ZERO: Final = 16
SPLIT_TLB: Final = 32
FRACTURED: Final = 64


class Subject(Enum):
    """The subject of a switch, which says which comparisons have to try it."""

    FAULT = "what a CPU does before it faults"
    """The table of changes tries both settings, and so does the comparison with QEMU."""
    DIRTY = "how a CPU sets the dirty bit"
    """The table of changes tries both settings if a store may go through a clean entry; QEMU has only one of them."""
    CACHES = "what a CPU caches"
    """The comparison with QEMU tries both settings; an entry is equally stale under each."""
    BROADCAST = "how an invalidation reaches other CPUs"
    """QEMU has no broadcasts, and the table of changes does not distinguish between flushes."""
    KERNEL = "the kernel that boots"
    """The switch is no parameter of Machine; run/execute.py handles it."""


class Switch(NamedTuple):
    """The declaration of one switch; a missing field raises TypeError when this module is imported.

    `bit`: its bit in the header; append, never reorder, because stored scenarios keep it.
    `name`: the word in the text form.
    `summary`: one line for people.
    `keyword`: the parameter of Machine that the switch sets, "" if it belongs to the kernel.
    `subject`: what it is about.
    `real`: such a processor or kernel exists. No generator or mutator sets a switch of one that does not exist: only a
    scenario that is written by hand has it, and every policy may fail on it.
    `drawn`: the other switches beside which a campaign draws it, 0 for none; () if it is not drawn.
    """

    bit: int
    name: str
    summary: str
    keyword: str
    subject: Subject
    real: bool
    drawn: tuple[int, ...]


DECLARED: Final = (
    Switch(
        bit=AMD,
        name="amd",
        summary="the CPU walks the page tables again before it delivers a fault that a TLB entry caused",
        keyword="amd",
        subject=Subject.FAULT,
        real=True,
        drawn=(0,),
    ),
    # CPUs before CET.
    Switch(
        bit=STRAY_DIRTY,
        name="stray-dirty",
        summary="the dirty bit may appear in an entry that has just become read-only",
        keyword="stray_dirty",
        subject=Subject.DIRTY,
        real=True,
        drawn=(0, AMD),
    ),
    Switch(
        bit=NO_DIRTY_REWALK,
        name="no-dirty-rewalk",
        summary="the CPU sets the dirty bit without checking the entry again; no known CPU does",
        keyword="blind_dirty",
        subject=Subject.DIRTY,
        real=False,
        drawn=(),
    ),
    Switch(
        bit=INVLPGB,
        name="invlpgb",
        summary="the CPU has broadcast invalidation, and the kernel uses global ASIDs",
        keyword="invlpgb",
        subject=Subject.BROADCAST,
        real=True,
        drawn=(0, AMD),
    ),
    # transparent_hugepage/use_zero_page. Only a race that needs it sets it (fuzz/inputs/races.py).
    Switch(
        bit=HUGE_ZERO,
        name="huge-zero",
        summary="read faults of huge regions map the huge zero page",
        keyword="",
        subject=Subject.KERNEL,
        real=True,
        drawn=(),
    ),
    Switch(
        bit=SPLIT_TLB,
        name="split-tlb",
        summary="the CPU has a separate TLB for instruction fetches; `fill p0 fetch` and `evict p0 fetch` act on it",
        keyword="split_tlb",
        subject=Subject.CACHES,
        real=True,
        drawn=(0,),
    ),
    Switch(
        bit=FRACTURED,
        name="fractured",
        summary="the CPU caches a huge page in pieces of 4 KiB",
        keyword="fractured",
        subject=Subject.CACHES,
        real=True,
        drawn=(0,),
    ),
)
"""Every switch, in the order of the bits; the header has one byte for them."""

for _at, _each in enumerate(DECLARED):
    if _each.bit != 1 << _at:
        _message = f"the bit of the switch {_each.name} must be {1 << _at}, and is {_each.bit}"
        raise ValueError(_message)

SWITCHES: Final = tuple(each.name for each in DECLARED)
"""The words of the switches."""
UNREAL: Final = sum(each.bit for each in DECLARED if not each.real)
"""The switches of processors that do not exist."""
DRAWN: Final = tuple(each.bit | others for each in DECLARED for others in each.drawn)
"""The sets of switches that a campaign draws, except the empty set."""


def names_of(machine: int) -> list[str]:
    """Return the words of a set of switches, in the order of the text form."""
    return [each.name for each in DECLARED if each.bit & machine]


@cache
def keywords_of(machine: int) -> Mapping[str, bool]:
    """Return the parameters of Machine for a set of switches; parameters that are left out are off."""
    return {each.keyword: True for each in DECLARED if each.bit & machine and each.keyword}
