"""Broadcast invalidation: one processor issues it for all of them, and waits until it is complete.

INVLPGB and TLBSYNC on AMD (APM vol. 3), TLBI by the inner shareable domain and DSB on Arm.
The completion belongs to the issuer: who waits without having issued anything learns nothing about the invalidations of
others (Arm ARM, completion of TLB maintenance instructions; 4b634918384c).
The hardware is adversarial here as well: what was cached when the invalidation was issued stays until its issuer has
waited, and what is cached behind the issue stays for good.

An invalidation that is on its way is (processor, key, entry) in `Machine.issued`; the key of an upper entry is above
UPPER.
"""

from typing import Final

from machine.x86 import GLOBAL_TAG, Machine

UPPER: Final = 1 << 10


def invlpgb(machine: Machine, cpu: int, pcid: int, page: int) -> None:
    """Issue, on every processor, an invalidation of what translates one page of one PCID, its upper entry included."""
    keys = (pcid << 4 | page, pcid << 4 | 8 | page >> 2)
    upper = pcid << 1 | page >> 2
    issued = machine.issued[cpu]
    for target, tlb in enumerate(machine.tlb):
        for key in keys:
            if key in tlb:
                issued.append((target, key, tlb[key]))
        if upper in machine.psc[target]:
            issued.append((target, UPPER | upper, machine.psc[target][upper]))


def invlpgb_context(machine: Machine, cpu: int, pcid: int) -> None:
    """Issue, on every processor, an invalidation of everything of one PCID, globals excepted."""
    issued = machine.issued[cpu]
    for target, tlb in enumerate(machine.tlb):
        issued += [(target, key, entry) for key, entry in tlb.items() if key >> 4 == pcid]
        issued += [
            (target, UPPER | key, entry)
            for key, entry in machine.psc[target].items()
            if key >> 1 == pcid
        ]


def invlpgb_nonglobals(machine: Machine, cpu: int) -> None:
    """Issue, on every processor, an invalidation of everything of every PCID, globals excepted."""
    issued = machine.issued[cpu]
    for target, tlb in enumerate(machine.tlb):
        issued += [(target, key, entry) for key, entry in tlb.items() if key >> 4 != GLOBAL_TAG]
        issued += [(target, UPPER | key, entry) for key, entry in machine.psc[target].items()]


def tlbsync(machine: Machine, cpu: int) -> None:
    """Wait until every processor has carried out what this one has issued."""
    issued = machine.issued[cpu]
    for target, key, entry in issued:
        held = machine.psc[target] if key & UPPER else machine.tlb[target]
        place = key & ~UPPER
        if held.get(place) == entry:
            del held[place]
    issued.clear()
