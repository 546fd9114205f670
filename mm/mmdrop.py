"""mmdrop: the top-level table of a dead address space is freed when the last CPU that has it loaded leaves it."""

from shootdown.mm.frames import free_table
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World


def mmdrop_gone(w: World, cpu: int) -> None:
    """Free dead tables after the CPU has loaded another one: it may have been the last CPU that had the old one."""
    if w.gone:
        push(w, cpu, (mmdrop,))


@step("finish_task_switch, mmdrop", "free")
def mmdrop(w: World, _cpu: int, _s: Step) -> None:
    """Free each top-level table that is in no CPU's CR3.

    Linux counts the CPUs that have it as active_mm (mm_count), and a CPU that a flush has sent to init_mm gives up its
    count at its next switch; here it gives it up at once, and the next switch of any CPU frees the table.
    """
    for mm, root in w.gone.copy():
        if root not in w.machine.cr3:
            w.gone.remove((mm, root))
            free_table(w, mm, 0, root)
