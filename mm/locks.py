"""The kernel's locks as steps: mmap_lock, the PMD lock and the page-table locks (PTL).

A step that cannot take its lock is blocked and changes nothing.
Per-VMA locks are not separate: who needs one for writing holds mmap_lock for writing (linux-tlb G.14).
"""

from mm.step import Step, step
from mm.world import NOBODY, WRITER, World


@step("mmap_read_lock", "lock")
def mmap_read_lock(w: World, _cpu: int, s: Step) -> bool:
    if w.mmap_lock[s[1]] == WRITER:
        return True
    w.mmap_lock[s[1]] += 1
    return False


@step("mmap_read_unlock", "unlock")
def mmap_read_unlock(w: World, _cpu: int, s: Step) -> None:
    w.mmap_lock[s[1]] -= 1


@step("mmap_write_lock", "lock")
def mmap_write_lock(w: World, _cpu: int, s: Step) -> bool:
    if w.mmap_lock[s[1]]:
        return True
    w.mmap_lock[s[1]] = WRITER
    return False


@step("mmap_write_unlock", "unlock")
def mmap_write_unlock(w: World, _cpu: int, s: Step) -> None:
    w.mmap_lock[s[1]] = 0


@step("pmd_lock", "lock")
def pmd_lock(w: World, cpu: int, s: Step) -> bool:
    if w.pmd_lock[s[1]] != NOBODY:
        return True
    w.pmd_lock[s[1]] = cpu
    return False


@step("pmd_unlock", "unlock")
def pmd_unlock(w: World, _cpu: int, s: Step) -> None:
    w.pmd_lock[s[1]] = NOBODY


@step("pte_lock", "lock")
def pte_lock(w: World, cpu: int, s: Step) -> bool:
    at = s[1] * 2 + s[2]
    if w.ptl[at] != NOBODY:
        return True
    w.ptl[at] = cpu
    return False


@step("pte_unlock", "unlock")
def pte_unlock(w: World, _cpu: int, s: Step) -> None:
    w.ptl[s[1] * 2 + s[2]] = NOBODY
