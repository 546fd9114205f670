"""Broadcast invalidation: one processor issues it for all of them, and waits until it is complete.

INVLPGB and TLBSYNC on AMD (APM vol. 3), TLBI by the inner shareable domain and DSB on Arm.
The completion belongs to the issuer: who waits without having issued anything learns nothing about the invalidations of
others (Arm ARM, completion of TLB maintenance instructions; 4b634918384c).
The hardware is adversarial here as well: what was cached when the invalidation was issued stays until its issuer has
waited, and what is cached behind the issue stays for good.
But each processor carries the invalidation out in one instant: what it has cached behind the issue by walking through
an upper entry that is to go is gone with that, else a table that was taken out would live on in what was read from it.

An invalidation that is on its way is (processor, key, entry) in `Machine.issued`; the key of an upper entry is above
UPPER, and the entry ANYTHING is whatever there is.
"""

from typing import Final

from machine.entry import DIRTY
from machine.geometry import PAGES
from machine.x86 import GLOBAL_TAG, Machine

UPPER: Final = 1 << 10
ANYTHING: Final = -1
_PCIDS: Final = range(GLOBAL_TAG)


def invlpgb(machine: Machine, cpu: int, pcid: int, page: int) -> None:
    """Issue, on every processor, an invalidation of what translates one page of one PCID, its upper entry included."""
    for target in range(len(machine.tlb)):
        _issue(machine, cpu, target, pcid, page)


def invlpgb_context(machine: Machine, cpu: int, pcid: int) -> None:
    """Issue, on every processor, an invalidation of everything of one PCID, globals excepted."""
    for target in range(len(machine.tlb)):
        for page in range(PAGES):
            _issue(machine, cpu, target, pcid, page)


def invlpgb_nonglobals(machine: Machine, cpu: int) -> None:
    """Issue, on every processor, an invalidation of everything of every PCID, globals excepted."""
    for pcid in _PCIDS:
        invlpgb_context(machine, cpu, pcid)


def _issue(machine: Machine, cpu: int, target: int, pcid: int, page: int) -> None:
    tlb, psc = machine.tlb[target], machine.psc[target]
    issued = machine.issued[cpu]
    upper = pcid << 1 | page >> 2
    walked = upper in psc
    if walked:
        issued.append((target, UPPER | upper, psc[upper]))
    for key in (pcid << 4 | page, pcid << 4 | 8 | page >> 2):
        if walked:
            issued.append((target, key, ANYTHING))
        elif key in tlb:
            issued.append((target, key, tlb[key]))


def tlbsync(machine: Machine, cpu: int) -> None:
    """Wait until every processor has carried out what this one has issued."""
    issued = machine.issued[cpu]
    for target, key, entry in issued:
        held = machine.psc[target] if key & UPPER else machine.tlb[target]
        place = key & ~UPPER
        # A store behind the issue may have set D in what is to go (good_invlpgb_after_a_first_store).
        if place in held and (entry == ANYTHING or not (held[place] ^ entry) & ~DIRTY):
            del held[place]
    issued.clear()
