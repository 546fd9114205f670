"""Page tables that are freed wait for lockless walkers, who have their interrupts disabled.

A walker takes no lock, so it does not see that a table is unhooked. On a machine whose flush is an interrupt, the flush
waits for it; but a hypervisor flushes a CPU that has its interrupts disabled as well.
So a table is freed after a grace period (tlb_remove_table, MMU_GATHER_RCU_TABLE_FREE), or after an interrupt that
waits for every walker (tlb_remove_table_sync_one).
Here both are a step that is blocked as long as somebody walks, as in Linux where no memory is left for a batch of
tables. An operation that waits returns later than with RCU, and the table is freed no earlier. CPUs with interrupts
disabled for another reason are not waited for: they read no page table, and RCU makes no operation wait for them.
"""

from shootdown.mm.state import Step
from shootdown.mm.step import step
from shootdown.mm.world import World


@step("tlb_remove_table_sync_one", "ack")
def remove_table_sync(w: World, _cpu: int, _s: Step) -> bool:
    """Wait for every walk that is under way: one that begins later finds what the PMD is now."""
    return w.walkers != 0
