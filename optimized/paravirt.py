"""Delivery in a guest: the hypervisor flushes a CPU that does not run, and no flush waits for it.

A virtual CPU that the host has preempted gets a mark instead of an interrupt, and its whole TLB is flushed before it
runs again (KVM_FEATURE_PV_TLB_FLUSH). It may be in a section with interrupts disabled, for which a native flush waits.
So a flush does not imply a wait for lockless walkers, and page tables need a separate grace period (mm.lockless).
The same holds for other hypervisors, and for hardware that broadcasts a flush (INVLPGB; arm64).
"""

from shootdown.mm.world import World
from shootdown.optimized.strategy import GatherFlush


class ParavirtFlush(GatherFlush):
    """GatherFlush in which a CPU that a scenario has paused with interrupts disabled counts as preempted by the host.

    A CPU that is paused elsewhere handles the flush itself, as it would on its way back to the guest.
    """

    def held_off(self, w: World, target: int) -> bool:
        """Flush everything that the CPU has cached, and do not wait.

        The guest's generations and masks do not change, so the CPU flushes again when it compares them.
        """
        w.machine.invpcid_all(target, globals_too=True)
        return False
