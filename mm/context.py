"""Context switches: to a thread of another address space, and to a kernel thread (lazy TLB)."""

from shootdown.mm.arguments import NO_ARGUMENT, SPACE
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.operation import op_return
from shootdown.mm.pkeys import load_pkru
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World


def start_switch(w: World, cpu: int, _page: int, _count: int, mm: int) -> None:
    """Begin a switch of the CPU to a thread of `mm`; without effect if there is no such address space."""
    push(w, cpu, (context_switch, mm), (op_return,))


Operation(
    number=13,
    name="switch",
    start=start_switch,
    summary="context switch to an address space",
    pages="none",
    argument=SPACE,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=4,
    weight=8,
    layouts=(),
    needs=(),
    shares=("loaded address space",),
    holds_page=False,
    simpler_as=("lazy", "poke"),
)


@step("context_switch", "switch")
def context_switch(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    if w.live[mm]:
        w.task_mm[cpu] = mm
        w.kthread[cpu] = False
        if w.pkru:
            load_pkru(w, cpu)
        w.flush.switch_mm(w, cpu, mm)


def start_lazy(w: World, cpu: int, _page: int, _count: int, _arg: int) -> None:
    """Begin a switch of the CPU to a kernel thread, which borrows the loaded address space (enter_lazy_tlb)."""
    push(w, cpu, (enter_lazy_tlb,), (op_return,))


Operation(
    number=14,
    name="lazy",
    start=start_lazy,
    summary="switch to a kernel thread, entering lazy TLB mode",
    pages="none",
    argument=NO_ARGUMENT,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=4,
    weight=4,
    layouts=(),
    needs=(),
    shares=("page table under a walker", "page table of a lazy CPU", "loaded address space"),
    holds_page=False,
    simpler_as=(),
)


@step("enter_lazy_tlb", "switch")
def enter_lazy_tlb(w: World, cpu: int, _s: Step) -> None:
    w.kthread[cpu] = True
    w.flush.enter_lazy(w, cpu)


def leave_lazy(w: World, cpu: int) -> None:
    """Put the user thread back on the CPU before its next operation."""
    w.kthread[cpu] = False
    push(w, cpu, (context_switch, w.task_mm[cpu]))
