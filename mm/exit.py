"""exit of the last thread of an address space: exit_mm, exit_mmap, and a switch to a thread of another one.

A CPU that still has the space loaded has it lazily.
A lazy CPU leaves it in the flush that precedes the freeing of the page tables; the top-level table, which the CPU has
in CR3, lives until no CPU has it loaded (mm.mmdrop).
This model does not have the levels of tables in between; they are freed in the same gather if anything is mapped. So
the flush is for everything and for lazy CPUs even if no page table of this model is freed (a huge page).
No lock is taken: no other thread runs in the space (mm_users is 0), and an operation that reaches its pages through the
rmap takes the page-table locks.
"""

from shootdown.machine.geometry import PAGES, TABLES
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.context import leave_lazy
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.munmap import free_pgtable, remove_regions
from shootdown.mm.operation import gather_begin, gather_finish, op_return
from shootdown.mm.page_mask import by_table
from shootdown.mm.pfnmap import unlink_of
from shootdown.mm.pkeys import threads_gone
from shootdown.mm.state import GONE_MM, MMS, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import pmd_of
from shootdown.mm.world import World
from shootdown.mm.zap import UNMAP, zap_pmd


def start_exit(w: World, cpu: int, _page: int, _count: int, _arg: int) -> None:
    """Begin the exit of the CPU's thread and of all that sleep in its address space; the CPU continues in another one.

    The exit is refused, without effect, while another CPU runs a thread of the space, which keeps the space alive, and
    if it is the only address space.
    """
    push(w, cpu, (exit_mm,), (op_return,))


Operation(
    number=25,
    name="exit",
    start=start_exit,
    summary="the last thread of the address space exits",
    pages="none",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.ALONE,
    access=False,
    rank=5,
    weight=2,
    layouts=(),
    needs=("fork",),
    shares=("loaded address space",),
    holds_page=False,
    simpler_as=("switch",),
)


@step("exit_mm, mmput", "check")
def exit_mm(w: World, cpu: int, _s: Step) -> None:
    """Make the thread a kernel thread, which borrows the loaded space (enter_lazy_tlb); no thread can be scheduled in
    the space any more.

    A thread that sleeps while its CPU runs a kernel thread is killed with the others, or is the one that exits and has
    moved; its CPU continues in the other address space.
    """
    mm = w.task_mm[cpu]
    others = [other for other in range(MMS) if w.live[other] and other != mm]
    sleepers = [c for c in range(w.cpus) if w.task_mm[c] == mm and c != cpu]
    if not others or not all(w.kthread[c] for c in sleepers):
        return
    w.live[mm] = False
    w.observer.exited(mm)
    for c in (cpu, *sleepers):
        w.task_mm[c] = others[0]
    if w.pkru:
        threads_gone(w, mm)
    w.kthread[cpu] = True
    w.flush.enter_lazy(w, cpu)
    mask = remove_regions(w, cpu, mm, 0, PAGES)
    zaps = [(zap_pmd, mm, index, part, UNMAP) for index, part in by_table(mask)]
    # A driver's pages are not flushed earlier either (tlb->fullmm): no thread is left that could reach them.
    unlink = unlink_of(w, mm, mask)
    frees = [(free_pgtable, mm, index) for index in range(TABLES)]
    upper = [(free_pgd_range,)] if any(pmd_of(w, mm, i) for i in range(TABLES)) else []
    push(
        w, cpu, (gather_begin, mm), *zaps, *unlink, *frees, *upper, (gather_finish,), (exit_end, mm)
    )


@step("free_pgd_range", "free")
def free_pgd_range(w: World, cpu: int, _s: Step) -> None:
    w.flush.upper_tables_removed(w, cpu)


@step("mmdrop, schedule", "switch")
def exit_end(w: World, cpu: int, s: Step) -> None:
    """Free the number for a new address space; CPUs that still have the old table loaded have no space with a name."""
    _, mm = s
    w.gone.append((mm, w.root[mm]))
    w.root[mm] = -1
    for c in range(w.cpus):
        if w.loaded_mm[c] == mm:
            w.loaded_mm[c] = GONE_MM
    w.flush.mm_freed(w, mm)
    leave_lazy(w, cpu)
