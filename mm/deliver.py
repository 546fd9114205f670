"""What ends a user access without the access: a signal or a userfaultfd event."""

from mm.operation import end_operation
from mm.step import Step, push, step
from mm.world import World


def give_up(w: World, cpu: int) -> None:
    """End the CPU's user access, which holds no lock; the thread goes on behind it.

    A thread that waits for a userfaultfd event is treated like one that got a signal: the scenario may issue the access
    again after the page was resolved.
    """
    w.steps[cpu].clear()
    end_operation(w, cpu)


def deliver_signal(w: World, cpu: int, mm: int, *unlocks: Step) -> None:
    """As give_up, after releasing locks, mmap_lock last."""
    w.steps[cpu].clear()
    push(w, cpu, *unlocks, (access_ended, mm))


@step("mmap_read_unlock, deliver", "unlock")
def access_ended(w: World, cpu: int, s: Step) -> None:
    w.mmap_lock[s[1]] -= 1
    give_up(w, cpu)
