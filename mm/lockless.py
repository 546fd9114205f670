"""The wait for lockless walkers, which have their interrupts disabled, before page tables are freed.

A walker takes no lock, so it does not see that a table is removed. On a machine whose flush is an interrupt, the flush
waits for it; but a hypervisor flushes even a CPU that has its interrupts disabled.
So a table is freed after a grace period (tlb_remove_table, MMU_GATHER_RCU_TABLE_FREE), or after an interrupt that
waits for every walker (tlb_remove_table_sync_one).
Here both are a step that is blocked while any CPU walks, as in Linux if no memory is left for a batch of tables. An
operation that waits returns later than with RCU, and the table is freed no earlier. A batch of tables does not wait for
CPUs with interrupts disabled for another reason: they read no page table, and RCU makes no operation wait for them.
tlb_remove_table_sync_one does, because it interrupts every CPU and waits for the answers (mm/mmu_gather.c of Linux 6.1,
6.12 and 7.3). So khugepaged frees no table that a CPU in the middle of a switch still has in CR3: in 6.1 such a CPU has
left the mask of the space that it leaves before it writes CR3, and no flush reaches it there.
"""

from shootdown.mm.state import Step
from shootdown.mm.step import step
from shootdown.mm.world import World


@step("tlb_remove_table_sync_one", "ack")
def remove_table_sync(w: World, cpu: int, _s: Step) -> bool:
    """Wait for every other CPU that has interrupts disabled; a walk that begins later reads the new PMD."""
    return any(off for other, off in enumerate(w.irqs_off) if other != cpu)
