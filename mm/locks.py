"""The kernel's locks: mmap_lock, the lock of each VMA, the PMD lock and the page-table locks (PTL).

A step that cannot take its lock is blocked and changes nothing.
Taking a lock commutes with the actions of other CPUs until they need it, and so does releasing it. So a section with
one change that others can see loses no outcome as a single step, which is blocked while the lock is taken (R. J.
Lipton, "Reduction: a method of proving properties of parallel programs", CACM 18 (12), 1975).
For the same reason an operation takes mmap_lock in its first step, and releases it in the step that returns: a return
is an event only for the oracle, and the earlier it comes, the less the oracle allows.

Page faults (since 6.4), and MADV_DONTNEED and MADV_FREE (7.3) take the lock of their VMA for reading instead of
mmap_lock (lock_vma_under_rcu). A CPU that holds mmap_lock for writing takes, for writing, the lock of each VMA that it
changes, waits for its readers, and keeps it until it releases or downgrades mmap_lock (vma_end_write_all). So the
readers of one VMA run beside the writer of another one, even if both are under the same page table.
World.vma_readers counts readers at the page by which they have found the VMA: its extent does not change while it is
locked.
"""

from shootdown.machine.geometry import FANOUT, PAGES, TABLES
from shootdown.mm.state import NOBODY, VM_MAPPED, VM_PFNMAP, WRITER, Step
from shootdown.mm.step import step
from shootdown.mm.vma import whole_vmas
from shootdown.mm.world import World


def mmap_read_trylock(w: World, mm: int) -> bool:
    """Take mmap_lock for reading; return False, without effect, while another CPU has it for writing."""
    if w.mmap_lock[mm] == WRITER:
        return False
    w.mmap_lock[mm] += 1
    return True


def mmap_write_trylock(w: World, mm: int) -> bool:
    """Take mmap_lock for writing; return False, without effect, while any CPU has it."""
    if w.mmap_lock[mm]:
        return False
    w.mmap_lock[mm] = WRITER
    return True


def mmap_write_downgrade(w: World, mm: int) -> None:
    """Turn mmap_lock, which is taken for writing, into a lock for reading, and release the locks of all VMAs."""
    w.mmap_lock[mm] = 1
    w.vma_written[mm] = 0


def mmap_write_unlock(w: World, mm: int) -> None:
    """Release mmap_lock, which is taken for writing, and the locks of all VMAs with it (vma_end_write_all)."""
    w.mmap_lock[mm] = 0
    w.vma_written[mm] = 0


def vma_start_write(w: World, mm: int, mask: int, then: list[int] | None = None) -> bool:
    """Lock the VMAs of the pages for writing, under mmap_lock for writing or together with it.

    Return False, without effect, while one of them is locked for reading.
    `then`: the regions after the change; a VMA with which one of the pages is merged is locked too.
    """
    pages = whole_vmas(w.vma[mm], mask)
    if then is not None:
        pages |= whole_vmas(then, mask)
    readers = w.vma_readers
    if readers and any(pages >> page & 1 and mm * PAGES + page in readers for page in range(PAGES)):
        return False
    w.vma_written[mm] |= pages
    return True


def write_trylock(w: World, mm: int, mask: int, then: list[int] | None = None) -> bool:
    """Take mmap_lock for writing, and the locks of VMAs as vma_start_write does; return False, without effect, while
    one of them is taken.

    Taking mmap_lock first and then waiting for readers of a VMA makes no difference for others except that they wait.
    """
    if w.mmap_lock[mm] or not vma_start_write(w, mm, mask, then):
        return False
    w.mmap_lock[mm] = WRITER
    return True


def vma_read_trylock(w: World, mm: int, page: int) -> bool:
    """Lock the VMA of the page for reading (lock_vma_under_rcu); return False, without effect, if there is none or it
    is locked for writing.
    """
    if not w.vma[mm][page] & VM_MAPPED or w.vma_written[mm] >> page & 1:
        return False
    at = mm * PAGES + page
    w.vma_readers[at] = w.vma_readers.get(at, 0) + 1
    return True


def vma_end_read(w: World, mm: int, page: int) -> None:
    """Release the lock of the VMA of the page, which is taken for reading."""
    at = mm * PAGES + page
    if w.vma_readers[at] > 1:
        w.vma_readers[at] -= 1
    else:
        del w.vma_readers[at]


@step("pmd_lock", "lock")
def pmd_lock(w: World, cpu: int, s: Step) -> bool:
    _, mm = s
    if w.pmd_lock[mm] != NOBODY:
        return True
    w.pmd_lock[mm] = cpu
    return False


@step("pmd_unlock", "unlock")
def pmd_unlock(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    if w.pmd_lock[mm] != cpu:
        w.observer.lock_missing(cpu, mm, 0)
    w.pmd_lock[mm] = NOBODY


@step("pte_lock", "lock")
def pte_lock(w: World, cpu: int, s: Step) -> bool:
    _, mm, index = s
    at = mm * TABLES + index
    if w.ptl[at] != NOBODY:
        return True
    w.ptl[at] = cpu
    return False


@step("pte_unlock", "unlock")
def pte_unlock(w: World, cpu: int, s: Step) -> None:
    _, mm, index = s
    at = mm * TABLES + index
    if w.ptl[at] != cpu:
        w.observer.lock_missing(cpu, mm, index * FANOUT)
    w.ptl[at] = NOBODY


def fault_waits(w: World, mm: int, page: int) -> bool:
    """Return whether a fault on the page has to wait for the writer that has mmap_lock: the page has no VMA's lock, or
    that lock is taken for writing.
    """
    vma = w.vma[mm][page]
    return vma & (VM_MAPPED | VM_PFNMAP) != VM_MAPPED or bool(w.vma_written[mm] >> page & 1)


def fault_lock(w: World, mm: int, page: int) -> None:
    """Take the lock for a fault on a mapped page: that of its VMA, or mmap_lock in a driver's region."""
    if w.vma[mm][page] & VM_PFNMAP:
        w.mmap_lock[mm] += 1
    else:
        vma_read_trylock(w, mm, page)


def fault_unlock(w: World, mm: int, page: int) -> None:
    """Release the lock that fault_lock took: the region is still the same."""
    if w.vma[mm][page] & VM_PFNMAP:
        w.mmap_lock[mm] -= 1
    else:
        vma_end_read(w, mm, page)
