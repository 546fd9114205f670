"""Global ASIDs: one PCID for an address space on all CPUs, which broadcasts keep up to date (linux-tlb B.3).

An address space that is active on several CPUs gets one at the end of a flush that had to interrupt another CPU.
From then on every CPU that loads the space uses it. The CPUs that have the space loaded under their own ASID are
stragglers, and while there are any the space is in transition: a flush is broadcast, and interrupts them as well.
A number that an address space has given back is not used again before all numbers have been used and everything is
flushed.
"""

from typing import Final

from shootdown.mm.state import Step
from shootdown.mm.step import step
from shootdown.mm.world import World
from shootdown.optimized.state import FIRST_GLOBAL, X86State

LAST_GLOBAL: Final = FIRST_GLOBAL + 3
"""The highest global ASID: there must be more of them than address spaces; Linux has 2,048 or 4,096."""
ACTIVE: Final = 1
"""A space gets a global ASID if it runs on more CPUs than this at once; Linux has 3, of many more CPUs."""


@step("consider_global_asid", "ack")
def consider_global_asid(w: World, cpu: int, s: Step) -> None:
    """Give the space a global ASID if it is active on enough CPUs.

    Linux checks about once in 32 jiffies; here every flush that had to interrupt another CPU does.
    """
    _, mm = s
    state: X86State = w.flush_state
    active = sum(
        loaded == mm and not lazy for loaded, lazy in zip(w.loaded_mm, w.lazy, strict=True)
    )
    if active > ACTIVE and w.live[mm] and state.global_asid[mm] < 0:
        assign(w, cpu, mm)
        state.transition |= 1 << mm


def assign(w: World, cpu: int, mm: int) -> None:
    """Give the address space a global ASID under which no CPU has cached anything."""
    state: X86State = w.flush_state
    asid = _next_free(state, state.last_global + 1)
    if asid > LAST_GLOBAL:
        w.machine.invlpgb_nonglobals(cpu)
        w.machine.tlbsync(cpu)
        asid = _next_free(state, FIRST_GLOBAL)
    state.global_asid[mm] = state.last_global = asid


def _next_free(state: X86State, asid: int) -> int:
    while asid in state.global_asid:
        asid += 1
    return asid


def adopt(w: World, cpu: int, mm: int) -> None:
    """Make a CPU with `mm` loaded use its global ASID; the entries under its old one are not used again."""
    state: X86State = w.flush_state
    asid = state.asid[cpu] = state.global_asid[mm]
    w.machine.load_cr3(cpu, w.root[mm], asid, noflush=True)
