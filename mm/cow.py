"""Write faults on write-protected pages: a userfaultfd event, reuse, or a copy that breaks sharing (do_wp_page)."""

from shootdown.machine.entry import ACCESSED, DIRTY, PSE, RW, SOFT_DIRTY, UFFD_WP
from shootdown.machine.geometry import FANOUT, FRAME_BITS, frame_of
from shootdown.mm.deliver import deliver_signal
from shootdown.mm.frames import alloc_frame, alloc_huge, free_swap, get_page, put_page
from shootdown.mm.huge_zero import is_huge_zero, put_huge_zero
from shootdown.mm.locks import pmd_unlock, pte_lock, pte_unlock
from shootdown.mm.operation import due_install
from shootdown.mm.page_cache import wait_folio
from shootdown.mm.state import VM_RIGHTS, VM_SHARED, VM_UFFD_WP, ZERO_FRAME, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import page_prot, pmd_of, pte_of, set_pmd_leaf, set_pte
from shootdown.mm.thp import split_huge
from shootdown.mm.world import World


@step("do_wp_page", "check", takes="page entry")
def do_wp_page(w: World, cpu: int, s: Step) -> None:
    """Serve the fault under the PTL; every way out releases the lock."""
    _, page, pte = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    vma = w.vma[mm][page]
    if vma & VM_UFFD_WP:
        if pte & UFFD_WP:
            w.observer.trapped(cpu, page)
            deliver_signal(w, cpu, page, (pte_unlock, mm, index))
            return
        if w.flush.flush_pending(w, mm):
            # A concurrent write-protection may have deferred its flush; without a flush here a CPU with a writable
            # entry still writes to the frame while it is copied (6ce64428d620).
            push(w, cpu, (wp_page, page, pte))
            w.flush.flush_range(w, cpu, mm, page, 1)
            return
    push(w, cpu, (wp_page, page, pte))


@step("wp_page_reuse or wp_page_copy", "check", takes="page entry")
def wp_page(w: World, cpu: int, s: Step) -> None:
    _, page, pte = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    frame = frame_of(pte)
    if w.file_frames >> frame & 1:
        if w.page_lock >> frame & 1:
            # page_mkwrite waits for the folio's lock, without the PTL, and then the access is tried again.
            push(w, cpu, (pte_unlock, mm, index), (wait_folio, frame))
            return
        w.dirty |= 1 << frame
    if w.swap_cache and w.refs[frame] == 2:
        # The second reference may be that of a copy in swap that is no longer needed.
        free_swap(w, frame)
    if w.vma[mm][page] & VM_SHARED or (frame != ZERO_FRAME and w.refs[frame] == 1):
        set_pte(w, cpu, mm, page, pte_of(w, mm, page) | RW | DIRTY | ACCESSED | SOFT_DIRTY)
        push(w, cpu, (pte_unlock, mm, index))
    else:
        get_page(w, frame)
        push(w, cpu, (pte_unlock, mm, index), (cow_copy, page, pte))


@step("cow_user_page", "copy", takes="page entry")
def cow_copy(w: World, cpu: int, s: Step) -> None:
    _, page, pte = s
    mm = w.task_mm[cpu]
    old_frame = frame_of(pte)
    new_frame = alloc_frame(w)
    memory = w.machine.memory
    memory[new_frame << 2] = memory[old_frame << 2]
    if old_frame == ZERO_FRAME:
        w.observer.object_new(mm, page, new_frame)
    else:
        w.observer.copying(old_frame)
        w.observer.object_copied(mm, old_frame, new_frame)
    push(w, cpu, (pte_lock, mm, page // FANOUT), (cow_clear, page, pte, new_frame))


@step("ptep_clear_flush", "change", takes="page entry frame")
def cow_clear(w: World, cpu: int, s: Step) -> None:
    """Clear the entry and have it flushed before the new one is installed: else two CPUs see two pages."""
    _, page, pte, new_frame = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    if pte_of(w, mm, page) != pte:
        put_page(w, new_frame)
        push(w, cpu, (pte_unlock, mm, index), (cow_put, frame_of(pte)))
        return
    set_pte(w, cpu, mm, page, 0)
    w.flush.defer_page(w, cpu, mm, page)
    # After the unlock: drop the mapping's reference to the old frame, and the pin.
    put = (cow_put, frame_of(pte))
    push(
        w,
        cpu,
        (due_install,),
        (cow_install, page, pte, new_frame),
        (pte_unlock, mm, index),
        put,
        put,
    )


@step("set_pte_at", "install", takes="page entry frame")
def cow_install(w: World, cpu: int, s: Step) -> None:
    _, page, pte, new_frame = s
    mm = w.task_mm[cpu]
    old_frame = frame_of(pte)
    entry = page_prot(w.vma[mm][page]) | RW | DIRTY | SOFT_DIRTY
    set_pte(w, cpu, mm, page, FRAME_BITS[new_frame] | entry)
    w.observer.visit(cpu, mm, page, VM_RIGHTS)
    w.observer.object_left(mm, old_frame)


@step("put_page", "free", takes="frame")
def cow_put(w: World, _cpu: int, s: Step) -> None:
    _, frame = s
    put_page(w, frame)


@step("do_huge_pmd_wp_page", "check", takes="page entry")
def wp_huge(w: World, cpu: int, s: Step) -> None:
    """Serve the fault under the PMD lock; every way out releases the lock."""
    _, page, seen_pmd = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    pmd = pmd_of(w, mm, index)
    if pmd != seen_pmd or not pmd & PSE:
        push(w, cpu, (pmd_unlock, mm))
        return
    vma = w.vma[mm][page]
    if vma & VM_UFFD_WP and pmd & UFFD_WP:
        w.observer.trapped(cpu, page)
        deliver_signal(w, cpu, page, (pmd_unlock, mm))
        return
    first = frame_of(pmd)
    if is_huge_zero(w, pmd):
        push(w, cpu, (wp_huge_zero, page), (pmd_unlock, mm))
    elif all(w.refs[first + i] == 1 for i in range(FANOUT)):
        set_pmd_leaf(w, cpu, mm, index, pmd | RW | DIRTY | ACCESSED | SOFT_DIRTY)
        push(w, cpu, (pmd_unlock, mm))
    else:
        # Shared after fork: copy only the page that is written.
        push(w, cpu, (split_huge, mm, index), (pmd_unlock, mm))


@step("do_huge_zero_wp_pmd", "change")
def wp_huge_zero(w: World, cpu: int, s: Step) -> None:
    """Put 2 MiB of memory in the place of the huge zero page, under the PMD lock, or split it if there is none.

    The entry is cleared and flushed first, like that of one page (pmdp_huge_clear_flush): else two CPUs see two pages.
    """
    _, page = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    new_frame = alloc_huge(w)
    if new_frame < 0:
        push(w, cpu, (split_huge, mm, index))
        return
    set_pmd_leaf(w, cpu, mm, index, 0)
    push(w, cpu, (install_over_zeros, page, new_frame))
    w.flush.flush_range(w, cpu, mm, index * FANOUT, FANOUT)


@step("map_anon_folio_pmd", "install", takes="page frame")
def install_over_zeros(w: World, cpu: int, s: Step) -> None:
    """Map the new pages, and drop the reference of the mapping of zeros, which has been flushed."""
    _, page, new_frame = s
    mm = w.task_mm[cpu]
    first = page & ~(FANOUT - 1)
    for i in range(FANOUT):
        w.observer.object_new(mm, first + i, new_frame + i)
    entry = FRAME_BITS[new_frame] | page_prot(w.vma[mm][page]) | PSE | RW | DIRTY | SOFT_DIRTY
    set_pmd_leaf(w, cpu, mm, page // FANOUT, entry)
    for i in range(FANOUT):
        w.observer.visit(cpu, mm, first + i, VM_RIGHTS)
    put_huge_zero(w)
