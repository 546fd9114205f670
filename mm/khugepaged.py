"""khugepaged: put one huge page in the place of the small pages of a whole page table (collapse_huge_page).

The order is: take the PMD out, flush, copy, free the small pages, map the huge one, free the table (linux-tlb C).
The flush must reach lazy CPUs as well: they make no user access, but they walk, and through a cached PDE they would
walk a freed table (3ef938c35035, CVE-2025-22045).
After the flush an interrupt waits for lockless walkers, because a flush may not have waited for them (2ba99c5e0881).

In an anonymous region Linux keeps the table with the huge page (pgtable_trans_huge_deposit), and frees it with that
page or uses it for a split. In a region of a file collapse_pte_mapped_thp frees it after the same flush
(pte_free_defer), and that is the path of the CVE.
Here a split takes a new table, so the old one is freed when the collapse ends, after the flush.

mmap_lock and the VMA's lock are held for writing from the first step to the last, so a fault or a system call waits and
never meets the empty PMD; a walk by the rmap finds nothing there.
"""

from shootdown.machine.entry import DIRTY, PRESENT, PROTNONE, PSE, RW, SOFT_DIRTY
from shootdown.machine.geometry import FANOUT, FRAME_BITS, TABLES, frame_of
from shootdown.mm.arguments import SPACE
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.frames import alloc_huge, free_table, put_page
from shootdown.mm.lockless import remove_table_sync
from shootdown.mm.locks import pmd_lock, pmd_unlock, write_trylock
from shootdown.mm.operation import op_return, write_unlock_return
from shootdown.mm.page_mask import WHOLE_TABLE
from shootdown.mm.state import NOBODY, VM_RIGHTS, VM_UFFD_WP, VM_WRITE, ZERO_FRAME, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import maps, page_prot, pmd_of, set_pmd_leaf
from shootdown.mm.thp import huge_possible
from shootdown.mm.world import World


def start_collapse(w: World, cpu: int, page: int, _count: int, mm: int) -> None:
    """Begin to collapse, by a kernel thread, the 2 MiB of `mm` that contain the page.

    It is refused without effect if no single region that allows huge pages covers them, if a small page is locked or
    has another reference, or if no block is free.
    """
    push(w, cpu, (collapse_begin, mm, page // FANOUT))


Operation(
    number=24,
    name="collapse",
    start=start_collapse,
    summary="put a huge page in place of a table (khugepaged)",
    pages="one",
    argument=SPACE,
    thread=Thread.KERNEL,
    lock=Lock.WRITE,
    access=False,
    rank=5,
    weight=4,
    layouts=("huge",),
    needs=(),
    shares=("page table under a walker",),
    holds_page=False,
    simpler_as=(),
)


@step("mmap_write_lock, hugepage_vma_revalidate", "lock")
def collapse_begin(w: World, cpu: int, s: Step) -> bool:
    """Take the locks, and check the region; one that is registered with userfaultfd is left alone.

    Linux refuses only holes and marks in such a region, because only those concern userfaultfd.
    """
    _, mm, index = s
    if not w.live[mm]:
        push(w, cpu, (op_return,))
        return False
    allowed = huge_possible(w, mm, index) and not w.vma[mm][index * FANOUT] & VM_UFFD_WP
    if not write_trylock(w, mm, WHOLE_TABLE << index * FANOUT if allowed else 0):
        return True
    push(w, cpu, (write_unlock_return, mm))
    if allowed:
        push(w, cpu, (pmd_lock, mm), (collapse_pmd, mm, index))
    return False


@step("pmdp_collapse_flush", "change")
def collapse_pmd(w: World, cpu: int, s: Step) -> bool:
    """Take the table out, and flush the 2 MiB, under the PMD lock; every way out releases the lock.

    The step waits for a holder of the table's lock: the kernel takes the anon_vma lock for writing first, which waits
    for the walkers of the rmap and keeps them out until the small pages are isolated.
    So their isolation is part of this step, although Linux does it after the flush and puts the table back if it fails:
    no walker sees the difference. After the step no walk finds the pages any more.
    A lockless walker that found one earlier takes its reference too late and drops it, because it reads the PMD again.
    Linux allocates the huge page even earlier, and gives it back.
    """
    _, mm, index = s
    if w.ptl[mm * TABLES + index] != NOBODY:
        return True
    pmd = pmd_of(w, mm, index)
    new_frame = alloc_huge(w) if can_isolate(w, pmd) else -1
    if new_frame < 0:
        push(w, cpu, (pmd_unlock, mm))
        return False
    table = frame_of(pmd)
    set_pmd_leaf(w, cpu, mm, index, 0)
    push(
        w,
        cpu,
        (pmd_unlock, mm),
        *([(remove_table_sync,)] if w.flush.collapse_syncs() else []),
        *[(collapse_copy, mm, index * FANOUT + i, table, new_frame + i) for i in range(FANOUT)],
        (collapse_release, mm, table),
        (collapse_install, mm, index, new_frame),
        (collapse_end, mm, index, table),
    )
    w.flush.flush_range(w, cpu, mm, index * FANOUT, FANOUT)
    return False


def can_isolate(w: World, pmd: int) -> bool:
    """Return whether the entry points to a table whose pages only this mapping has (__collapse_huge_page_isolate).

    Absent entries and the zero page are allowed beside at least one page (max_ptes_none).
    Migration and swap entries are not, although Linux reads in some of the latter (max_ptes_swap).
    A page that is locked or has a second reference is used by migration or reclaim, or shared by fork; Linux takes some
    of the shared ones (max_ptes_shared).
    """
    if pmd & (PRESENT | PSE) != PRESENT:
        return False
    table = frame_of(pmd)
    found = False
    for pte in w.machine.memory[table << 2 : (table << 2) + FANOUT]:
        frame = frame_of(pte)
        if not pte or maps(pte, ZERO_FRAME):
            continue
        if not pte & (PRESENT | PROTNONE) or w.refs[frame] != 1 or w.page_lock >> frame & 1:
            return False
        found = True
    return found


@step("__collapse_huge_page_copy", "copy", takes="mm page table frame")
def collapse_copy(w: World, _cpu: int, s: Step) -> None:
    """Copy one small page to its place in the huge one; an absent page becomes zeros."""
    _, mm, page, table, new_frame = s
    memory = w.machine.memory
    old_frame = frame_of(memory[table << 2 | page % FANOUT])
    if old_frame == ZERO_FRAME:
        w.observer.object_new(mm, page, new_frame)
    else:
        w.observer.copying(old_frame)
        memory[new_frame << 2] = memory[old_frame << 2]
        w.observer.object_copied(mm, old_frame, new_frame)


@step("__collapse_huge_page_copy_succeeded", "free", takes="mm table")
def collapse_release(w: World, _cpu: int, s: Step) -> None:
    """Clear the entries of the table, which no walk can reach any more, and free the small pages."""
    _, mm, table = s
    memory = w.machine.memory
    for at in range(table << 2, (table << 2) + FANOUT):
        old_frame = frame_of(memory[at])
        memory[at] = 0
        if old_frame != ZERO_FRAME:
            w.observer.object_left(mm, old_frame)
            put_page(w, old_frame)


@step("set_pmd_at", "install", takes="mm index frame")
def collapse_install(w: World, cpu: int, s: Step) -> bool:
    """Map the huge page, under the PMD lock: writable if the region is, dirty and soft-dirty in any case.

    Each page has another frame now, so no older translation may be used after the collapse has returned. The free of
    the small pages implies that already, but the zero page is never freed.
    """
    _, mm, index, new_frame = s
    if w.pmd_lock[mm] != NOBODY:
        return True
    first = index * FANOUT
    vma = w.vma[mm][first]
    writable = RW if vma & VM_WRITE else 0
    set_pmd_leaf(
        w,
        cpu,
        mm,
        index,
        FRAME_BITS[new_frame] | page_prot(vma) | PSE | DIRTY | SOFT_DIRTY | writable,
    )
    for page in range(first, first + FANOUT):
        w.observer.visit(cpu, mm, page, VM_RIGHTS)
    return False


@step("pte_free_defer", "free", takes="mm index table")
def collapse_end(w: World, _cpu: int, s: Step) -> bool:
    """Free the table when no lockless walker may read it any more."""
    _, mm, index, table = s
    if w.walkers and w.flush.collapse_defers_free():
        return True
    free_table(w, mm, index, table)
    return False
