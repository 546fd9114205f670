"""The switches of the machine that a scenario boots, each declared once.

Everything else that concerns switches is computed from this: their words and bits in both forms of a scenario, how a
Machine is made (run/execute.py), which machines campaigns draw (fuzz/inputs/generate.py), which ones the table of
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
    """What a switch is about, which says who has to try it."""

    FAULT = "what a CPU does before it faults"
    """The table of changes tries both; so does the comparison with QEMU."""
    DIRTY = "how a CPU sets the dirty bit"
    """The table of changes tries both where a store may go through a clean entry; QEMU has only one."""
    CACHES = "what a CPU caches"
    """The comparison with QEMU tries both; an entry is as stale in either."""
    BROADCAST = "how an invalidation reaches other CPUs"
    """QEMU has none, and to the table of changes a flush is a flush."""
    KERNEL = "the kernel that boots"
    """No parameter of Machine; run/execute.py acts upon it."""


class Switch(NamedTuple):
    """One switch. A field that is not given is a TypeError when this module is imported.

    bit: its bit in the header; append, never reorder, or what is stored means something else.
    name: the word in the text form. summary: one line for people.
    keyword: the parameter of Machine that it sets, "" if it is the kernel's.
    real: a processor or a kernel that is so exists. No generator or mutator sets what does not exist: only a scenario
    written by hand asks for it, and every policy may fail on it.
    drawn: beside which other switches a campaign draws it, 0 for by itself; () where it is not drawn.
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
        summary="the CPU has a TLB of its own for instruction fetches, which `fill p0 fetch` and `evict p0 fetch`"
        " are for",
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
"""Every switch, in the order of the bits; the header has a byte for them."""

for _at, _each in enumerate(DECLARED):
    if _each.bit != 1 << _at:
        _message = f"the bit of the switch {_each.name} must be {1 << _at}, and is {_each.bit}"
        raise ValueError(_message)

SWITCHES: Final = tuple(each.name for each in DECLARED)
"""Their words."""
UNREAL: Final = sum(each.bit for each in DECLARED if not each.real)
"""The switches of what does not exist."""
DRAWN: Final = tuple(each.bit | others for each in DECLARED for others in each.drawn)
"""The sets of switches that a campaign draws, but for none at all."""


def names_of(machine: int) -> list[str]:
    """Return the words of a set of switches, in the order of the text form."""
    return [each.name for each in DECLARED if each.bit & machine]


@cache
def keywords_of(machine: int) -> Mapping[str, bool]:
    """Return the parameters of Machine that a set of switches stands for; those that are left out are off."""
    return {each.keyword: True for each in DECLARED if each.bit & machine and each.keyword}
