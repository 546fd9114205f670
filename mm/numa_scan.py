"""The NUMA scan (task_numa_work, change_prot_numa): entries become PROTNONE, so that the next access to each page is a
fault, which shows the node on which the page is used.

The scan promises the program nothing, so it denies nothing; the hint fault restores the rights that the scan takes away
(mm/numa_fault.py).
mmap_lock is held for reading, so faults, MADV_DONTNEED, MADV_FREE and userfaultfd meet entries whose flush is pending.
"""

from typing import Final

from shootdown.machine.entry import PRESENT, PROTNONE
from shootdown.machine.geometry import frame_of
from shootdown.mm.arguments import PLACEMENT
from shootdown.mm.change_protection import PROT_NUMA, change_pmd
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.huge_zero import of_huge_zero
from shootdown.mm.locks import mmap_read_trylock
from shootdown.mm.operation import gather_begin, gather_finish, read_unlock_return
from shootdown.mm.page_mask import by_table
from shootdown.mm.state import VM_PFNMAP, VM_READ, VM_SHARED, VM_WRITE, ZERO_FRAME, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import accessible, leaf_of
from shootdown.mm.world import World

STAY: Final = 0
MOVE: Final = 1


def start_numa_scan(w: World, cpu: int, page: int, count: int, where: int) -> None:
    """Begin the scan of a range by a thread of the CPU's address space; regions that take no hints are left out.

    `where`: STAY if the pages are on the node of the threads that use them; MOVE if the threads have moved to another
    node.
    """
    mm = w.task_mm[cpu]
    push(w, cpu, (task_numa_work, mm, page, count, where), (read_unlock_return, mm))


Operation(
    number=29,
    name="numa_scan",
    start=start_numa_scan,
    summary="make the next access to each page a NUMA hint",
    pages="range",
    argument=PLACEMENT,
    thread=Thread.USER,
    lock=Lock.READ,
    access=False,
    rank=5,
    weight=4,
    layouts=(),
    needs=(),
    shares=("rights of an entry", "hint of a page", "PMD of a huge page", "protection keys"),
    holds_page=False,
    simpler_as=("migrate",),
)


def takes_hints(vma: int) -> bool:
    """Return whether a region is scanned: it is accessible, not a driver's (vma_migratable), and not a read-only
    mapping of a file or of shared memory.
    """
    if not accessible(vma) or vma & VM_PFNMAP:
        return False
    return not (vma & VM_SHARED and vma & (VM_READ | VM_WRITE) == VM_READ)


@step("mmap_read_lock, task_numa_work", "lock")
def task_numa_work(w: World, cpu: int, s: Step) -> bool:
    _, mm, first, count, where = s
    if not mmap_read_trylock(w, mm):
        return True
    mask = 0
    for page in range(first, first + count):
        if takes_hints(w.vma[mm][page]):
            mask |= 1 << page
            _place(w, leaf_of(w, mm, page), where)
    if mask:
        passes = [(change_pmd, mm, index, part, 0, PROT_NUMA) for index, part in by_table(mask)]
        push(w, cpu, (gather_begin, mm), *passes, (gather_finish,))
    return False


def _place(w: World, leaf: int, where: int) -> None:
    """Record whether the page is on the node of the threads that use it."""
    frame = frame_of(leaf)
    if leaf & (PRESENT | PROTNONE) and frame != ZERO_FRAME and not of_huge_zero(w, frame):
        w.misplaced = w.misplaced & ~(1 << frame) | where << frame
