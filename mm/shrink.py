"""The shrinker of the huge zero page, which frees it if memory is short and no entry maps it."""

from shootdown.machine.geometry import FANOUT
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.frames import put_page
from shootdown.mm.operation import op_return
from shootdown.mm.state import HUGE_ZERO_FREE, Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World


def start_shrink(w: World, cpu: int, _page: int, _count: int, _arg: int) -> None:
    """Begin to shrink, by a kernel thread; without effect while an entry maps the huge zero page, or there is none."""
    push(w, cpu, (shrink_huge_zero,), (op_return,))


Operation(
    number=33,
    name="shrink",
    start=start_shrink,
    summary="free the huge zero page if nobody maps it",
    pages="none",
    argument=NO_ARGUMENT,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=2,
    layouts=("huge",),
    needs=(),
    shares=("huge zero page",),
    holds_page=False,
    simpler_as=(),
)


@step("shrink_huge_zero_folio_scan", "free")
def shrink_huge_zero(w: World, _cpu: int, _s: Step) -> None:
    """Exchange the count once, from the page's own reference to none; no TLB is checked."""
    first = w.huge_zero
    if first < 0 or w.refs[first : first + FANOUT] != [1] * FANOUT:
        return
    w.huge_zero = HUGE_ZERO_FREE
    for frame in range(first, first + FANOUT):
        put_page(w, frame)
