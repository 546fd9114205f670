"""The ends of a user access without the access: a signal or a userfaultfd event."""

from shootdown.mm.locks import fault_unlock
from shootdown.mm.operation import end_operation
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World


def give_up(w: World, cpu: int) -> None:
    """End the CPU's user access, which holds no lock; the thread continues after it.

    A thread that waits for a userfaultfd event is treated like one that gets a signal: the scenario may issue the
    access again after the page is resolved.
    """
    w.steps[cpu].clear()
    end_operation(w, cpu)


def deliver_signal(w: World, cpu: int, page: int, *unlocks: Step) -> None:
    """End a user access as give_up does, in a fault on the page, after releasing locks, that of the VMA last."""
    w.steps[cpu].clear()
    push(w, cpu, *unlocks, (access_ended, w.task_mm[cpu], page))


@step("vma_end_read, deliver", "unlock")
def access_ended(w: World, cpu: int, s: Step) -> None:
    _, mm, page = s
    fault_unlock(w, mm, page)
    give_up(w, cpu)
