"""Delivery in a guest: who does not run is flushed by the hypervisor, and nobody waits for it.

A virtual CPU that the host has preempted gets a mark instead of an interrupt, and its whole TLB is flushed before it
runs again (KVM_FEATURE_PV_TLB_FLUSH). It may be in a section with interrupts disabled, for which a native flush waits.
So a flush says nothing about lockless walkers, and page tables need a grace period of their own (mm.lockless).
The same holds for other hypervisors, and where the hardware broadcasts a flush (INVLPGB; arm64).
"""

from shootdown.mm.world import World
from shootdown.optimized.strategy import GatherFlush


class ParavirtFlush(GatherFlush):
    """As GatherFlush, but a CPU that a scenario has paused with interrupts disabled counts as preempted by the host.

    One that is paused elsewhere handles the flush itself, as it would on its way back to the guest.
    """

    def held_off(self, w: World, target: int) -> bool:
        """Flush all that the CPU has cached. What the guest knows of it, generations and masks, stays as it is, so the
        CPU flushes again when it compares.
        """
        w.machine.invpcid_all(target, globals_too=True)
        return False
