"""Revocation: a driver takes back pages that programs have mapped (unmap_mapping_range), and frees them.

It takes no mmap_lock: it finds the regions through i_mmap. Each address space is zapped in its own gather, with or
without an entry: another zap may have cleared the entry without a flush so far, and then the gather is nested and
flushes everything. The driver frees its pages when the walk has returned, and relies on no processor reaching them.
A later fault maps a new page of zeros.
"""

from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.frames import put_page
from shootdown.mm.operation import gather_begin, gather_finish, op_return
from shootdown.mm.page_mask import by_table
from shootdown.mm.pfnmap import i_mmap_read_trylock, linked
from shootdown.mm.state import MMS, Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World
from shootdown.mm.zap import UNMAP, zap_pmd


def start_revoke(w: World, cpu: int, page: int, count: int, _arg: int) -> None:
    """Begin to take back `count` of the driver's pages from `page` on, by a kernel thread of the driver.

    `page`: an offset in the driver's memory; all mappings of it are revoked.
    """
    push(w, cpu, (unmap_mapping_range, page, count), (free_driver_pages, page, count), (op_return,))


Operation(
    number=34,
    name="revoke",
    start=start_revoke,
    summary="a driver takes back a range of its pages",
    pages="range",
    argument=NO_ARGUMENT,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=2,
    layouts=("pfnmap",),
    needs=(),
    shares=("pages of a driver",),
    holds_page=False,
    simpler_as=("punch",),
)


@step("i_mmap_lock_read, unmap_mapping_range", "lock")
def unmap_mapping_range(w: World, cpu: int, s: Step) -> bool:
    """Walk the regions, those of live spaces first, so a parent before its child.

    Fork may copy an entry before the walk, but not after it (vma_interval_tree_insert_after).
    """
    _, first, count = s
    if not i_mmap_read_trylock(w):
        return True
    walk: list[Step] = []
    for mm in sorted(range(MMS), key=w.live.__getitem__, reverse=True):
        mask = linked(w, mm, range(first, first + count))
        if mask:
            zaps = [(zap_pmd, mm, index, part, UNMAP) for index, part in by_table(mask)]
            walk += [(gather_begin, mm), *zaps, (gather_finish,)]
    push(w, cpu, *walk)
    return False


@step("i_mmap_unlock_read, the driver frees its pages", "free")
def free_driver_pages(w: World, _cpu: int, s: Step) -> None:
    _, first, count = s
    w.i_mmap_lock -= 1
    for place in range(first, first + count):
        if place in w.driver:
            put_page(w, w.driver.pop(place))
