"""The kernel's locks: mmap_lock, the PMD lock and the page-table locks (PTL).

A step that cannot take its lock is blocked and changes nothing.
Taking a lock commutes with what others do until they want it, and so does releasing it; so a section with one change
that others can see loses no outcome as a single step, which is blocked while the lock is taken (R. J. Lipton,
"Reduction: a method of proving properties of parallel programs", CACM 18 (12), 1975).
For the same reason an operation takes mmap_lock in its first step, and releases it in the step that returns: a return
is an event for the oracle alone, and the earlier it comes the less the oracle allows.
Per-VMA locks are not separate: who needs one for writing holds mmap_lock for writing (linux-tlb G.14).
"""

from machine.geometry import FANOUT
from mm.step import Step, step
from mm.world import NOBODY, WRITER, World


def mmap_read_trylock(w: World, mm: int) -> bool:
    """Take mmap_lock for reading; return False, with no effect, while somebody has it for writing."""
    if w.mmap_lock[mm] == WRITER:
        return False
    w.mmap_lock[mm] += 1
    return True


def mmap_write_trylock(w: World, mm: int) -> bool:
    """Take mmap_lock for writing; return False, with no effect, while anybody has it."""
    if w.mmap_lock[mm]:
        return False
    w.mmap_lock[mm] = WRITER
    return True


def mmap_write_downgrade(w: World, mm: int) -> None:
    """Keep mmap_lock, which is taken for writing, for reading."""
    w.mmap_lock[mm] = 1


@step("pmd_lock", "lock")
def pmd_lock(w: World, cpu: int, s: Step) -> bool:
    if w.pmd_lock[s[1]] != NOBODY:
        return True
    w.pmd_lock[s[1]] = cpu
    return False


@step("pmd_unlock", "unlock")
def pmd_unlock(w: World, cpu: int, s: Step) -> None:
    if w.pmd_lock[s[1]] != cpu:
        w.observer.lock_missing(cpu, s[1], 0)
    w.pmd_lock[s[1]] = NOBODY


@step("pte_lock", "lock")
def pte_lock(w: World, cpu: int, s: Step) -> bool:
    at = s[1] * 2 + s[2]
    if w.ptl[at] != NOBODY:
        return True
    w.ptl[at] = cpu
    return False


@step("pte_unlock", "unlock")
def pte_unlock(w: World, cpu: int, s: Step) -> None:
    at = s[1] * 2 + s[2]
    if w.ptl[at] != cpu:
        w.observer.lock_missing(cpu, s[1], s[2] * FANOUT)
    w.ptl[at] = NOBODY
