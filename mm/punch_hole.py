"""Hole punching (fallocate, or truncate): unmap all mappings of a page of the file, and drop the page.

It takes no mmap_lock: it finds the mappings through the file, so it can meet an mremap that has moved one of them and
released the page-table locks (CVE-2018-18281).
First every region of the page is zapped, with or without an entry: another zap may have cleared the entry without a
flush so far, and then the gather is nested and flushes everything (truncate_pagecache_range in mm/truncate.c and
unmap_mapping_range_vma in mm/memory.c of Linux 6.1). Then the mappings that the reverse map still has are zapped
(unmap_mapping_folio).
Faults on the page wait for the folio's lock, which stands for the invalidate_lock of the mapping as well.
"""

from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.mm.arguments import NO_ARGUMENT
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.frames import put_page
from shootdown.mm.locks import pte_unlock
from shootdown.mm.operation import gather_begin, gather_finish, op_return, pte_lock_batched
from shootdown.mm.page_cache import mapped_at
from shootdown.mm.rmap import trylock_page, unlock_page
from shootdown.mm.state import VM_FILE, VM_PGOFF_SHIFT, VM_RIGHTS, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import has_table, maps, pmd_of, pte_of
from shootdown.mm.world import World
from shootdown.mm.zap import UNMAP, zap_pte


def start_punch(w: World, cpu: int, page: int, _count: int, _arg: int) -> None:
    """Begin to punch a hole into the file, by some process that has it open: after that its page `page` is zeros."""
    push(w, cpu, (punch_begin, PAGES + page), (op_return,))


Operation(
    number=23,
    name="punch",
    start=start_punch,
    summary="punch a hole into the file where it has a page",
    pages="one",
    argument=NO_ARGUMENT,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=3,
    layouts=("file",),
    needs=(),
    shares=("rmap of a page of the file",),
    holds_page=False,
    simpler_as=(),
)


@step("folio_lock, fallocate", "lock")
def punch_begin(w: World, cpu: int, s: Step) -> bool:
    _, place = s
    frame = w.shared[place]
    if frame >= 0 and not trylock_page(w, frame):
        return True
    if frame >= 0:
        push(w, cpu, (unmap_mapping_next, frame), (remove_folio, frame, place))
    else:
        push(w, cpu, (leave_hole, place))
    for mm, regions in enumerate(w.vma):
        for page, vma in enumerate(regions):
            if vma and maps_place(vma, place):
                push_gather(w, cpu, mm, (unmap_mapping_region, mm, page, place))
    return False


def maps_place(vma: int, place: int) -> bool:
    """Return whether the region maps the page of the file at the place."""
    return bool(vma & VM_FILE) and vma >> VM_PGOFF_SHIFT == place


def push_gather(w: World, cpu: int, mm: int, *steps: Step) -> None:
    """Push the steps in their own gather, because the next steps may belong to another address space."""
    push(w, cpu, (gather_begin, mm), *steps, (gather_finish,))


@step("unmap_mapping_range", "check")
def unmap_mapping_region(w: World, cpu: int, s: Step) -> None:
    """Zap the page of a region that still maps the file's page; for a region that is gone, its munmap does it."""
    _, mm, page, place = s
    index = page // FANOUT
    if not maps_place(w.vma[mm][page], place):
        return
    if pmd_of(w, mm, index):
        push(w, cpu, (pte_lock_batched, mm, index), (zap_region_pte, mm, page, place))
    else:
        w.observer.visit(cpu, mm, page, VM_RIGHTS)


@step("zap_pte_range", "check")
def zap_region_pte(w: World, cpu: int, s: Step) -> None:
    """Look again, under the PTL, because the region or the table may be gone; every way out releases the lock."""
    _, mm, page, place = s
    index = page // FANOUT
    still = maps_place(w.vma[mm][page], place)
    if still and has_table(w, mm, index):
        push(w, cpu, (zap_pte, mm, index, 1 << page % FANOUT, UNMAP))
        return
    if still:
        w.observer.visit(cpu, mm, page, VM_RIGHTS)
    push(w, cpu, (pte_unlock, mm, index))


@step("unmap_mapping_folio", "check", takes="frame")
def unmap_mapping_next(w: World, cpu: int, s: Step) -> None:
    """Zap the next mapping that the reverse map finds, and continue."""
    _, frame = s
    places = mapped_at(w, frame)
    if places:
        mm, page = divmod(min(places), PAGES)
        index = page // FANOUT
        w.steps[cpu].append(s)
        lock = (pte_lock_batched, mm, index)
        push_gather(w, cpu, mm, lock, (unmap_mapping_pte, mm, page, frame))


@step("zap_pte_range", "check", takes="mm page frame")
def unmap_mapping_pte(w: World, cpu: int, s: Step) -> None:
    """Look again, under the PTL, because mremap may have moved the mapping; every way out releases the lock."""
    _, mm, page, frame = s
    index = page // FANOUT
    if maps(pte_of(w, mm, page), frame):
        push(w, cpu, (zap_pte, mm, index, 1 << page % FANOUT, UNMAP))
    else:
        push(w, cpu, (pte_unlock, mm, index))


@step("truncate_inode_folio", "free", takes="frame place")
def remove_folio(w: World, _cpu: int, s: Step) -> None:
    """Take the folio out of the page cache, and leave a hole in the backing store: its next reader finds zeros."""
    _, frame, place = s
    w.shared[place] = -1
    w.disk.pop(place, None)
    w.observer.object_ended(place)
    unlock_page(w, frame)
    put_page(w, frame)


@step("truncate_inode_pages_range", "check")
def leave_hole(w: World, cpu: int, s: Step) -> None:
    """Leave a hole where the page had no folio at the start; begin again if a fault has read one in since then."""
    _, place = s
    if w.shared[place] >= 0:
        push(w, cpu, (punch_begin, place))
    else:
        w.disk.pop(place, None)
        w.observer.object_ended(place)
