"""Kernels with a page table in a region that allows huge pages, which khugepaged can collapse."""

from shootdown.machine.entry import PRESENT, PSE
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.world import FlushStrategy
from tests.kernel import Kernel


def split(policy: str | FlushStrategy = "linux", cpus: int = 2, pages: int = 4) -> Kernel:
    """Return a kernel whose first huge page, of the values 1 to 4, was split into a full table by a lazy free."""
    k = Kernel(policy, cpus=cpus, layout="huge", pages=pages)
    for page in range(FANOUT):
        k.write(0, page)
    k.run(0, "free", 0, 4)
    return k


def holed() -> Kernel:
    """Return the same, with page 0 absent."""
    k = split()
    k.run(0, "dontneed", 0)
    return k


def values(k: Kernel, cpu: int = 1) -> list[int | str]:
    """Return what a CPU reads from the four pages."""
    return [k.read(cpu, page) for page in range(FANOUT)]


def table_of(k: Kernel) -> int:
    """Return the frame of the page table."""
    assert k.pmd() & (PRESENT | PSE) == PRESENT
    return frame_of(k.pmd())


def tables_cached(k: Kernel) -> set[int]:
    """Return the page tables to which some paging-structure cache leads."""
    return {frame_of(upper) for cached in k.w.machine.psc for upper in cached.values()}
