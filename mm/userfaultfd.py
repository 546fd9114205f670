"""userfaultfd: register a range for write-protection tracking, write-protect it, write-unprotect it.

The two changes run under mmap_lock for reading, so they overlap with page faults and with each other.
"""

from mm.change_protection import UFFD_PROTECT, UFFD_RESOLVE, change_pmd
from mm.locks import mmap_read_lock, mmap_read_unlock, mmap_write_lock, mmap_write_unlock
from mm.operation import gather_begin, gather_finish, op_return
from mm.page_mask import by_table, mask_of
from mm.step import Step, push, step
from mm.world import VM_MAPPED, VM_UFFD_WP, VM_WRITE, World


def start_register(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin UFFDIO_REGISTER with write-protect mode on the mapped pages of the range."""
    mm = w.task_mm[cpu]
    push(
        w,
        cpu,
        (mmap_write_lock, mm),
        (register_vma, mm, page, count),
        (mmap_write_unlock, mm),
        (op_return,),
    )


@step("userfaultfd_register", "check")
def register_vma(w: World, _cpu: int, s: Step) -> None:
    _, mm, first, count = s
    regions = w.vma[mm]
    for page in range(first, first + count):
        if regions[page] & VM_MAPPED:
            regions[page] |= VM_UFFD_WP


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
        (mmap_read_lock, mm),
        (mwriteprotect_range, mm, page, count, mode),
        (mmap_read_unlock, mm),
        (op_return,),
    )


@step("mwriteprotect_range", "check")
def mwriteprotect_range(w: World, cpu: int, s: Step) -> None:
    _, mm, first, count, mode = s
    if not all(w.vma[mm][page] & VM_UFFD_WP for page in range(first, first + count)):
        return
    deny = VM_WRITE if mode == UFFD_PROTECT else 0
    packed = deny * 0o1111
    passes = [
        (change_pmd, mm, i, mask, packed, mode) for i, mask in by_table(mask_of(first, count))
    ]
    push(w, cpu, (gather_begin, mm), *passes, (gather_finish,))
