"""mremap: move the regions of a range, a whole page table or huge page by its PMD, else entry by entry.

The old addresses are flushed before either page-table lock is released: once the new entry can be reached, the page
can be freed or copied through it (eb66ae030829, CVE-2018-18281).
A PMD is moved under its lock and the rmap locks (take_rmap_locks), which keep out operations that find a page by the
rmap until the old addresses are flushed. Here the locks of both tables do that.
"""

from shootdown.machine.entry import PRESENT, PROTNONE, PSE, SWP_UFFD_WP, UFFD_WP
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.arguments import DESTINATION
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.locks import (
    pmd_lock,
    pmd_unlock,
    pte_lock,
    pte_unlock,
    vma_start_write,
    write_trylock,
)
from shootdown.mm.munmap import free_pgtable, unmap_region
from shootdown.mm.operation import (
    batched_pending,
    due_return,
    due_unlock,
    gather_begin,
    gather_finish,
    write_unlock_return,
)
from shootdown.mm.page_cache import move_rmap
from shootdown.mm.page_mask import by_table, mask_of
from shootdown.mm.pfnmap import i_mmap_write_trylock, i_mmap_write_unlock, move_links
from shootdown.mm.pgtable import pte_alloc
from shootdown.mm.state import VM_MAPPED, VM_PFNMAP, VM_RIGHTS, VM_UFFD_WP, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import (
    allowance,
    is_marker,
    leaf_of,
    pmd_of,
    pte_of,
    set_pmd_leaf,
    set_pmd_table,
    set_pte,
)
from shootdown.mm.thp import split_huge
from shootdown.mm.vma import vmas_in
from shootdown.mm.world import World


def start_mremap(w: World, cpu: int, page: int, count: int, target: int) -> None:
    """Begin mremap of `count` pages to `target` with MREMAP_FIXED, which unmaps the pages at the target.

    It is refused if the first page is not mapped, if the two ranges overlap, or if the target does not fit.
    """
    mm = w.task_mm[cpu]
    push(
        w,
        cpu,
        (mremap_to, mm, page, count, target),
        (write_unlock_return, mm),
    )


Operation(
    number=12,
    name="mremap",
    start=start_mremap,
    summary="move a range to another place",
    pages="range",
    argument=DESTINATION,
    thread=Thread.USER,
    lock=Lock.WRITE,
    access=False,
    rank=5,
    weight=5,
    layouts=(),
    needs=(),
    shares=(
        "rmap of a page of the file",
        "a page that goes",
        "PMD of a huge page",
        "pages of a driver",
        "page table under a walker",
    ),
    holds_page=False,
    simpler_as=("munmap",),
)


@step("mmap_write_lock, mremap_to", "lock")
def mremap_to(w: World, cpu: int, s: Step) -> bool:
    """Move one region after the other, and keep the holes between them (remap_move, since 6.17).

    A region that is registered with userfaultfd moves only alone: if it is the first of several, nothing moves; if it
    is a later one, it ends the call (EFAULT) after the regions before it have moved.
    """
    _, mm, first, count, target = s
    regions = w.vma[mm]
    parts: list[tuple[int, int, int]] = []
    fits = target + count <= w.pages and abs(target - first) >= count
    if fits and regions[first] & VM_MAPPED:
        for start, length in vmas_in(regions, first, count):
            if regions[start] & VM_UFFD_WP and length != count:
                break
            parts.append((start, length, target + start - first))
    if not parts:
        return not write_trylock(w, mm, 0)
    start, length, to = parts[0]
    if not write_trylock(w, mm, mask_of(to, length)):
        return True
    push(w, cpu, *[(remap_vma, mm, start, length, target) for start, length, target in parts[1:]])
    remap(w, cpu, mm, start, length, to)
    return False


@step("mremap_to", "lock")
def remap_vma(w: World, cpu: int, s: Step) -> bool:
    """Move one region of several to its target."""
    _, mm, first, count, target = s
    if not vma_start_write(w, mm, mask_of(target, count)):
        return True
    remap(w, cpu, mm, first, count, target)
    return False


def remap(w: World, cpu: int, mm: int, first: int, count: int, target: int) -> None:
    """Unmap the pages at the target of one region, whose VMAs are locked for writing, and move the region."""
    push(w, cpu, (move_vma, mm, first, count, target))
    if any(w.vma[mm][target : target + count]):
        unmap_region(w, cpu, mm, target, count, (gather_finish,))


@step("move_vma", "lock")
def move_vma(w: World, cpu: int, s: Step) -> bool:
    """Lock the VMA that moves, and create it at the target, without userfaultfd (mremap_userfaultfd_prep).

    UFFD_FEATURE_EVENT_REMAP is not modelled. If the region is a driver's, i_mmap is locked from here until all entries
    have moved.
    """
    _, mm, first, count, target = s
    regions = w.vma[mm]
    is_linked = bool(regions[first] & VM_PFNMAP)
    if is_linked and w.i_mmap_lock:
        return True
    moved = [vma & ~VM_UFFD_WP for vma in regions[first : first + count]]
    then = [*regions[:target], *moved, *regions[target + count :]]
    if not vma_start_write(w, mm, mask_of(first, count) | mask_of(target, count), then):
        return True
    if is_linked:
        i_mmap_write_trylock(w)
        move_links(w, mm, first, target, count)
    for i, vma in enumerate(moved):
        regions[target + i] = vma
        w.observer.region(cpu, mm, target + i, allowance(vma))
        # As in mmap: no older translation of the address may be used after the call has returned.
        w.observer.visit(cpu, mm, target + i, VM_RIGHTS)
    extents: list[tuple[int, int, int]] = []
    for i in range(count):
        old_page, new_page = first + i, target + i
        if extents and old_page % FANOUT and new_page % FANOUT:
            source, place, length = extents.pop()
            extents.append((source, place, length + 1))
        else:
            extents.append((old_page, new_page, 1))
    moves = [
        (move_extent, mm, old_page, new_page, length) for old_page, new_page, length in extents
    ]
    frees = [(free_pgtable, mm, index) for index, _ in by_table(mask_of(first, count))]
    push(
        w,
        cpu,
        *moves,
        *([(i_mmap_write_unlock,)] if is_linked else []),
        (unmap_source, mm, first, count),
        (gather_begin, mm),
        *frees,
        (gather_finish,),
        (due_return,),
    )
    w.flush.addresses_reused(w, cpu, mm)
    return False


@step("move_page_tables", "check")
def move_extent(w: World, cpu: int, s: Step) -> None:
    """Move pages whose old entries are in one table and whose new entries are in one table."""
    _, mm, old_page, new_page, count = s
    old_index, new_index = old_page // FANOUT, new_page // FANOUT
    pmd = pmd_of(w, mm, old_index)
    if not pmd:
        for page in range(old_page, old_page + count):
            w.observer.visit(cpu, mm, page, VM_RIGHTS)
    elif by_pmd(w, mm, old_page, new_page, count):
        indices = sorted({old_index, new_index})
        push(
            w,
            cpu,
            (pmd_lock, mm),
            *[(pte_lock, mm, index) for index in indices],
            (move_pmd, mm, old_index, new_index),
            (due_unlock,),
            *[(pte_unlock, mm, index) for index in reversed(indices)],
            (pmd_unlock, mm),
        )
    elif pmd & PSE:
        push(w, cpu, (pmd_lock, mm), (split_huge, mm, old_index), (pmd_unlock, mm), s)
    elif not pmd_of(w, mm, new_index):
        push(w, cpu, (pte_alloc, mm, new_index), s)
    else:
        indices = sorted({old_index, new_index})
        push(
            w,
            cpu,
            *[(pte_lock, mm, index) for index in indices],
            (batched_pending, mm),
            *[(move_pte, mm, old_page + i, new_page + i) for i in range(count)],
            (due_unlock,),
            *[(pte_unlock, mm, index) for index in reversed(indices)],
        )


def by_pmd(w: World, mm: int, old_page: int, new_page: int, count: int) -> bool:
    """Return whether the PMD moves as a whole: the pages are all that it covers, and the target has no PMD.

    A table with marks of userfaultfd, which the target does not get, is moved entry by entry
    (uffd_supports_page_table_move).
    """
    if (
        count != FANOUT
        or old_page % FANOUT
        or new_page % FANOUT
        or pmd_of(w, mm, new_page // FANOUT)
    ):
        return False
    return bool(pmd_of(w, mm, old_page // FANOUT) & PSE) or not w.vma[mm][old_page] & VM_UFFD_WP


@step("move_normal_pmd or move_huge_pmd", "change")
def move_pmd(w: World, cpu: int, s: Step) -> None:
    """Move the PMD to the empty target; no entry of the table changes.

    Everything that is cached for the old addresses must be dropped, the upper entry too: through it walks would still
    reach the table, which belongs to another address by then.
    """
    _, mm, old_index, new_index = s
    pmd = pmd_of(w, mm, old_index)
    first, target = old_index * FANOUT, new_index * FANOUT
    moved = [bool(leaf_of(w, mm, first + i)) for i in range(FANOUT)]
    set_pmd_leaf(w, cpu, mm, old_index, 0)
    for i in range(FANOUT):
        if moved[i]:
            w.observer.page_moved(mm, target + i)
            if w.rmap:
                move_rmap(w, mm, first + i, target + i)
    if pmd & PSE:
        set_pmd_leaf(w, cpu, mm, new_index, pmd & ~UFFD_WP)
    else:
        set_pmd_table(w, cpu, mm, new_index, frame_of(pmd))
    w.flush.defer(w, cpu, mm, first, FANOUT)
    for page in range(first, first + FANOUT):
        w.observer.visit(cpu, mm, page, VM_RIGHTS)


def without_mark(entry: int) -> int:
    """Return an entry, which may be one of swap or migration, without the mark of userfaultfd.

    A marker consists of that mark alone, so it becomes 0 (move_ptes in mm/mremap.c of 7.3).
    """
    if is_marker(entry):
        return 0
    return entry & ~(UFFD_WP if entry & (PRESENT | PROTNONE) else SWP_UFFD_WP)


@step("move_ptes", "change")
def move_pte(w: World, cpu: int, s: Step) -> None:
    _, mm, old_page, new_page = s
    pte = pte_of(w, mm, old_page)
    if pte:
        set_pte(w, cpu, mm, old_page, 0)
        w.observer.page_moved(mm, new_page)
        set_pte(w, cpu, mm, new_page, without_mark(pte))
        if w.rmap:
            move_rmap(w, mm, old_page, new_page)
        if pte & (PRESENT | PROTNONE):
            w.flush.defer(w, cpu, mm, old_page, 1)
    w.observer.visit(cpu, mm, old_page, VM_RIGHTS)


@step("do_munmap of the old range", "check")
def unmap_source(w: World, cpu: int, s: Step) -> None:
    _, mm, first, count = s
    for page in range(first, first + count):
        w.vma[mm][page] = 0
        w.observer.region(cpu, mm, page, -1)
