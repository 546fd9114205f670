"""Regions of a driver's pages (VM_PFNMAP), in which the memory manager maps frames that it does not count.

An entry holds no reference and has no rmap; it is special, so that an operation that looks for its page finds none
(mm.tables.is_special). The driver may free its pages as soon as unmap_mapping_range has returned, which finds regions
by the file's i_mmap. So a region must not leave i_mmap before its old translations are flushed (b67fbebd4cf9,
CVE-2022-39188): in other regions the references that a gather has queued keep the frames until then, here nothing does.

A walk holds i_mmap_rwsem for reading; an operation that links, unlinks or moves a region holds it for writing. Here a
revocation keeps it until the pages are freed, so that it stands for the driver's own lock as well, for which faults
wait.
"""

from shootdown.machine.geometry import PAGES
from shootdown.mm.frames import alloc_zeroed
from shootdown.mm.state import VM_PFNMAP, VM_PGOFF_SHIFT, WRITER, Step
from shootdown.mm.step import step
from shootdown.mm.world import World


def driver_frame(w: World, mm: int, place: int) -> int:
    """Return the frame of the driver's page that a fault of `mm` is about to map (vmf_insert_pfn); a new page of zeros
    if the driver has none.
    """
    frame = w.driver.get(place, -1)
    if frame < 0:
        frame = w.driver[place] = alloc_zeroed(w)
    w.observer.object_shared(mm, frame)
    return frame


def i_mmap_read_trylock(w: World) -> bool:
    """Take i_mmap_rwsem for reading; return False, without effect, while another CPU has it for writing."""
    if w.i_mmap_lock == WRITER:
        return False
    w.i_mmap_lock += 1
    return True


def i_mmap_write_trylock(w: World) -> bool:
    """Take i_mmap_rwsem for writing; return False, without effect, while any CPU has it."""
    if w.i_mmap_lock:
        return False
    w.i_mmap_lock = WRITER
    return True


@step("i_mmap_unlock_write", "unlock")
def i_mmap_write_unlock(w: World, _cpu: int, _s: Step) -> None:
    w.i_mmap_lock = 0


def link(w: World, mm: int, page: int) -> None:
    """Make unmap_mapping_range find the region of the page from here on, if it is a driver's (vma_link)."""
    vma = w.vma[mm][page]
    if vma & VM_PFNMAP:
        w.i_mmap[mm * PAGES + page] = vma >> VM_PGOFF_SHIFT


def linked(w: World, mm: int, places: range) -> int:
    """Return the mask of the pages of `mm` whose regions unmap_mapping_range finds for these pages of the driver."""
    if not w.i_mmap:
        return 0
    first = mm * PAGES
    return sum(1 << page for page in range(PAGES) if w.i_mmap.get(first + page, -1) in places)


def unlink_of(w: World, mm: int, mask: int) -> list[Step]:
    """Return the step that takes the regions of the pages out of i_mmap; none if they include no driver's region."""
    mask &= linked(w, mm, range(PAGES)) if w.i_mmap else 0
    return [(unlink_file_vma, mm, mask)] if mask else []


@step("i_mmap_lock_write, unlink_file_vma", "lock")
def unlink_file_vma(w: World, _cpu: int, s: Step) -> bool:
    _, mm, mask = s
    if w.i_mmap_lock:
        return True
    for page in range(PAGES):
        if mask >> page & 1:
            del w.i_mmap[mm * PAGES + page]
    return False


def move_links(w: World, mm: int, first: int, target: int, count: int) -> None:
    """Make the regions of these pages be found at the target, under i_mmap_rwsem."""
    base = mm * PAGES
    moved = [w.i_mmap.pop(base + page, -1) for page in range(first, first + count)]
    for page, place in enumerate(moved, target):
        if place >= 0:
            w.i_mmap[base + page] = place


@step("tlb_end_vma", "flush")
def end_pfn_vma(w: World, cpu: int, _s: Step) -> None:
    w.flush.pfn_vma_unmapped(w, cpu)
