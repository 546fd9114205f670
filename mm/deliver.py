"""What ends a user access without the access: a signal or a userfaultfd event."""

from mm.operation import IDLE_OP
from mm.step import Step, push, step
from mm.world import World


def deliver_signal(w: World, cpu: int, *unlocks: Step) -> None:
    """Give up the CPU's user access: release its locks, then the thread goes on behind the access.

    A thread that waits for a userfaultfd event is treated alike: the scenario may issue the access again after the
    page was resolved.
    """
    w.steps[cpu].clear()
    push(w, cpu, *unlocks, (access_ended,))


@step("deliver", "return")
def access_ended(w: World, cpu: int, _s: Step) -> None:
    w.op[cpu] = IDLE_OP
    w.observer.close(cpu)
