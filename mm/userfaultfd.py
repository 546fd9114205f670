"""userfaultfd: register a range for write-protection tracking, write-protect it, write-unprotect it.

The two changes run under mmap_lock for reading, so they overlap with page faults and with each other.
"""

from mm.change_protection import UFFD_PROTECT, UFFD_RESOLVE, change_pmd
from mm.locks import mmap_read_trylock, mmap_write_trylock
from mm.operation import (
    gather_begin,
    gather_finish,
    read_unlock_return,
    write_unlock_return,
)
from mm.page_mask import by_table, mask_of
from mm.step import Step, push, step
from mm.world import VM_FILE, VM_MAPPED, VM_PFNMAP, VM_UFFD_WP, VM_WRITE, World


def start_register(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin UFFDIO_REGISTER with write-protect mode on the mapped pages of the range."""
    mm = w.task_mm[cpu]
    push(
        w,
        cpu,
        (register_vma, mm, page, count),
        (write_unlock_return, mm),
    )


@step("mmap_write_lock, userfaultfd_register", "lock")
def register_vma(w: World, _cpu: int, s: Step) -> bool:
    _, mm, first, count = s
    if not mmap_write_trylock(w, mm):
        return True
    regions = w.vma[mm]
    for page in range(first, first + count):
        # Not of a file or a driver (vma_can_userfault).
        if regions[page] & (VM_MAPPED | VM_FILE | VM_PFNMAP) == VM_MAPPED:
            regions[page] |= VM_UFFD_WP
    return False


def start_protect(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin UFFDIO_WRITEPROTECT with WP set; a range that is not registered throughout is refused (ENOENT)."""
    _start(w, cpu, page, count, UFFD_PROTECT)


def start_unprotect(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin UFFDIO_WRITEPROTECT with WP clear."""
    _start(w, cpu, page, count, UFFD_RESOLVE)


def _start(w: World, cpu: int, page: int, count: int, mode: int) -> None:
    mm = w.task_mm[cpu]
    push(
        w,
        cpu,
        (mwriteprotect_range, mm, page, count, mode),
        (read_unlock_return, mm),
    )


@step("mmap_read_lock, mwriteprotect_range", "lock")
def mwriteprotect_range(w: World, cpu: int, s: Step) -> bool:
    _, mm, first, count, mode = s
    if not mmap_read_trylock(w, mm):
        return True
    for vma in w.vma[mm][first : first + count]:
        if not vma & VM_UFFD_WP:
            return False
    deny = VM_WRITE if mode == UFFD_PROTECT else 0
    packed = deny * 0o1111
    passes = [
        (change_pmd, mm, i, mask, packed, mode) for i, mask in by_table(mask_of(first, count))
    ]
    push(w, cpu, (gather_begin, mm), *passes, (gather_finish,))
    return False
