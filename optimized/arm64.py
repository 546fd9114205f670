"""arm64: every invalidation is broadcast, and only its issuer knows when it is complete (TLBI, DSB).

There are no interrupts, lazy CPUs have nothing to catch up on, and generations are not read; each address space has one
ASID for all CPUs.
It runs on the machine of x86, with INVLPGB for TLBI and TLBSYNC for DSB: the walks, rights and faults are not Arm's.
"""

from shootdown.mm.world import World
from shootdown.optimized.global_asid import adopt, assign
from shootdown.optimized.strategy import GatherFlush


class Arm64Flush(GatherFlush):
    """Delivery in which every address space has a global ASID from its first use on."""

    def has_only_global_asids(self) -> bool:
        return True

    def boot(self, w: World, cpu: int, mm: int) -> None:
        if w.flush_state.global_asid[mm] < 0:
            assign(w, cpu, mm)
        w.loaded_mm[cpu] = mm
        adopt(w, cpu, mm)
