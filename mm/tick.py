"""The timer interrupt: it changes no page table, but postponed work may be due (sched_tick)."""

from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.operation import op_return
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World


def start_tick(w: World, cpu: int, _page: int, _count: int, _arg: int) -> None:
    """Begin a timer interrupt on the CPU, in any thread."""
    push(w, cpu, (sched_tick,), (op_return,))


Operation(
    number=27,
    name="tick",
    start=start_tick,
    summary="the timer interrupt of a CPU: time passes",
    pages="none",
    argument=NO_ARGUMENT,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=2,
    layouts=(),
    needs=(),
    shares=("loaded address space",),
    holds_page=False,
    simpler_as=(),
)


@step("sched_tick", "check")
def sched_tick(w: World, cpu: int, _s: Step) -> None:
    w.flush.tick(w, cpu)
