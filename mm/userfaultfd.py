"""userfaultfd: register a range for write-protection tracking, write-protect it, write-unprotect it.

The two changes run under mmap_lock for reading, so they overlap with page faults and with each other.
"""

from shootdown.machine.entry import PSE
from shootdown.machine.geometry import TABLES
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.change_protection import UFFD_PROTECT, UFFD_RESOLVE, change_pmd
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.locks import mmap_read_trylock, pmd_lock, pmd_unlock, write_trylock
from shootdown.mm.operation import (
    gather_begin,
    gather_finish,
    read_unlock_return,
    write_unlock_return,
)
from shootdown.mm.page_mask import by_table, mask_of
from shootdown.mm.state import VM_FILE, VM_MAPPED, VM_PFNMAP, VM_UFFD_WP, VM_WRITE, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import pmd_of
from shootdown.mm.thp import split_huge
from shootdown.mm.vma import has_boundary, vmas_in
from shootdown.mm.world import World


def start_register(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin UFFDIO_REGISTER with write-protect mode on the regions of the range, without the holes.

    It is refused as a whole (EINVAL) if one of them is a file's or a driver's.
    """
    mm = w.task_mm[cpu]
    push(
        w,
        cpu,
        (register_vma, mm, page, count),
        (write_unlock_return, mm),
    )


Operation(
    number=9,
    name="uffd_register",
    start=start_register,
    summary="register a range with userfaultfd",
    pages="range",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.WRITE,
    access=False,
    rank=3,
    weight=5,
    layouts=(),
    needs=(),
    shares=(),
    holds_page=False,
    simpler_as=(),
)


@step("mmap_write_lock, userfaultfd_register", "lock")
def register_vma(w: World, cpu: int, s: Step) -> bool:
    """Register the regions; split a huge page in which a VMA now ends.

    That is vma_adjust_trans_huge in mm/huge_memory.c of 6.1, 6.12 and 7.3. Without the split a fault in one VMA would
    change entries of the other while a call has locked that one.
    """
    _, mm, first, count = s
    regions = w.vma[mm]
    new = [vma | VM_UFFD_WP if vma & VM_MAPPED else vma for vma in regions[first : first + count]]
    # vma_can_userfault is checked for every region before any is changed.
    refused = any(vma & (VM_FILE | VM_PFNMAP) for vma in new)
    then = [*regions[:first], *new, *regions[first + count :]]
    if not write_trylock(w, mm, 0 if refused else mask_of(first, count), then):
        return True
    if not refused:
        w.vma[mm] = then
        for index in range(TABLES):
            if pmd_of(w, mm, index) & PSE and has_boundary(then, index):
                push(w, cpu, (pmd_lock, mm), (split_huge, mm, index), (pmd_unlock, mm))
    return False


def start_protect(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin UFFDIO_WRITEPROTECT with WP set: it stops at the first region that is not registered (ENOENT)."""
    _start(w, cpu, page, count, UFFD_PROTECT)


Operation(
    number=10,
    name="uffd_wp",
    start=start_protect,
    summary="write-protect a range through userfaultfd",
    pages="range",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.READ,
    access=False,
    rank=3,
    weight=6,
    layouts=(),
    needs=("uffd_register",),
    shares=("rights of an entry", "a page with a reference", "page table of a lazy CPU"),
    holds_page=False,
    simpler_as=("numa_scan",),
)


def start_unprotect(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin UFFDIO_WRITEPROTECT with WP clear."""
    _start(w, cpu, page, count, UFFD_RESOLVE)


Operation(
    number=11,
    name="uffd_unwp",
    start=start_unprotect,
    summary="undo a userfaultfd write-protection",
    pages="range",
    argument=NO_ARGUMENT,
    thread=Thread.USER,
    lock=Lock.READ,
    access=False,
    rank=3,
    weight=6,
    layouts=(),
    needs=("uffd_register",),
    shares=("rights of an entry", "a page with a reference"),
    holds_page=False,
    simpler_as=(),
)


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
    """Change each region in its own gather (uffd_wp_range), without the holes.

    Until about 6.2 the range had to belong to one region.
    """
    _, mm, first, count, mode = s
    if not mmap_read_trylock(w, mm):
        return True
    deny = VM_WRITE * 0o1111 if mode == UFFD_PROTECT else 0
    walk: list[Step] = []
    for start, length in vmas_in(w.vma[mm], first, count):
        if not w.vma[mm][start] & VM_UFFD_WP:
            break
        parts = by_table(mask_of(start, length))
        passes = [(change_pmd, mm, index, mask, deny, mode) for index, mask in parts]
        walk += [(gather_begin, mm), *passes, (gather_finish,)]
    push(w, cpu, *walk)
    return False
