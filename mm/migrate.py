"""Migration of one page: unmap everywhere, flush, copy, map the copy.

It takes no mmap_lock, only the page lock and, entry by entry, the PTL.
The flush of the unmapping is deferred and must be done before the copy, else a CPU with a writable entry still writes
to the old frame.
A PROTNONE entry needs it as well while the flush of the change to PROTNONE is pending (20841405940e).
"""

from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    MIGRATION,
    MIGRATION_DIRTY,
    MIGRATION_WRITE,
    PRESENT,
    PROTNONE,
    RW,
    SOFT_DIRTY,
    SWP_SOFT_DIRTY,
    SWP_UFFD_WP,
    UFFD_WP,
)
from shootdown.machine.geometry import FRAME_BITS, frame_of
from shootdown.mm.arguments import SPACE
from shootdown.mm.declaration import Lock, Operation, Thread
from shootdown.mm.frames import alloc_frame, get_page, put_page
from shootdown.mm.operation import due_copy, due_free, op_return
from shootdown.mm.page_cache import add_rmap, remove_rmap, replace_folio
from shootdown.mm.rmap import find_mapping, is_merged, push_locked, trylock_page, unlock_page
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import (
    is_migration,
    is_special,
    maps,
    page_prot,
    pte_of,
    set_pte,
    swp_marks,
)
from shootdown.mm.world import World


def start_migrate(w: World, cpu: int, page: int, _count: int, mm: int) -> None:
    """Begin to migrate, by a kernel thread, the frame that `mm` maps at the page.

    A huge page, the zero page and a driver's page stay where they are.
    """
    push(w, cpu, (migrate_begin, mm, page), (op_return,))


Operation(
    number=15,
    name="migrate",
    start=start_migrate,
    summary="move a page to another frame",
    pages="one",
    argument=SPACE,
    thread=Thread.KERNEL,
    lock=Lock.NONE,
    access=False,
    rank=5,
    weight=6,
    layouts=(),
    needs=(),
    shares=("a page with a reference", "a page that is copied", "hint of a page"),
    holds_page=True,
    simpler_as=(),
)


@step("folio_isolate_lru", "check")
def migrate_begin(w: World, cpu: int, s: Step) -> None:
    _, mm, page = s
    if not w.live[mm]:
        return
    pte = pte_of(w, mm, page)
    if pte & (PRESENT | PROTNONE) and not is_special(pte):
        isolate_and_migrate(w, cpu, frame_of(pte))


def isolate_and_migrate(w: World, cpu: int, frame: int) -> bool:
    """Begin to migrate a mapped frame; return False, without effect, if it is merged by KSM or locked."""
    if is_merged(w, frame) or not trylock_page(w, frame):
        return False
    get_page(w, frame)
    push(w, cpu, (unmap_next, frame), (due_copy,), (migrate_copy, frame))
    return True


@step("try_to_migrate", "unmap", takes="frame")
def unmap_next(w: World, cpu: int, s: Step) -> None:
    _, frame = s
    found = find_mapping(w, frame, migration=False)
    if found:
        mm, page = found
        push_locked(w, cpu, mm, page, (unmap_one, mm, page, frame), s)


@step("try_to_migrate_one", "change", takes="mm page frame")
def unmap_one(w: World, cpu: int, s: Step) -> None:
    _, mm, page, frame = s
    pte = pte_of(w, mm, page)
    if not maps(pte, frame):
        return
    entry = FRAME_BITS[frame] | MIGRATION | swp_marks(pte)
    if pte & RW:
        entry |= MIGRATION_WRITE
    if pte & DIRTY:
        entry |= MIGRATION_DIRTY
    if w.file_frames >> frame & 1:
        remove_rmap(w, mm, page)
        if pte & DIRTY:
            w.dirty |= 1 << frame
    if w.flush.pte_accessible(w, mm, pte):
        w.flush.defer_unmap(w, cpu, mm, page)
    set_pte(w, cpu, mm, page, entry)
    w.refs[frame] -= 1


@step("folio_migrate_copy", "copy", takes="frame")
def migrate_copy(w: World, cpu: int, s: Step) -> None:
    """Copy the frame, unless there is another reference (-EAGAIN): then the old frame is mapped again."""
    _, old_frame = s
    new_frame = old_frame
    place = w.shared.index(old_frame) if old_frame in w.shared else -1
    if w.refs[old_frame] == 1 + (place >= 0):
        w.observer.copying(old_frame)
        new_frame = alloc_frame(w)
        w.machine.memory[new_frame << 2] = w.machine.memory[old_frame << 2]
        trylock_page(w, new_frame)
        if w.lazy_free >> old_frame & 1:
            w.lazy_free |= 1 << new_frame
        if w.file_frames >> old_frame & 1:
            replace_folio(w, old_frame, new_frame)
        if place >= 0:
            w.observer.object_copied(-1, old_frame, new_frame)
            w.shared[place] = new_frame
            get_page(w, new_frame)
            w.refs[old_frame] -= 1
    push(
        w, cpu, (remap_next, old_frame, new_frame), (due_free,), (migrate_end, old_frame, new_frame)
    )


@step("remove_migration_ptes", "check", takes="frame frame")
def remap_next(w: World, cpu: int, s: Step) -> None:
    _, old_frame, new_frame = s
    found = find_mapping(w, old_frame, migration=True)
    if found:
        mm, page = found
        push_locked(w, cpu, mm, page, (remap_one, mm, page, old_frame, new_frame), s)


@step("remove_migration_pte", "install", takes="mm page frame frame")
def remap_one(w: World, cpu: int, s: Step) -> None:
    _, mm, page, old_frame, new_frame = s
    swp = pte_of(w, mm, page)
    if not is_migration(swp) or frame_of(swp) != old_frame:
        return
    entry = FRAME_BITS[new_frame] | page_prot(w.vma[mm][page]) | ACCESSED
    entry = entry | RW if swp & MIGRATION_WRITE else entry & ~RW
    if swp & MIGRATION_DIRTY:
        entry |= DIRTY
    if swp & SWP_SOFT_DIRTY:
        entry |= SOFT_DIRTY
    if swp & SWP_UFFD_WP:
        entry = entry & ~RW | UFFD_WP
    if new_frame != old_frame:
        # Entry by entry: a fork may have added entries that name the old frame since it was copied.
        w.observer.object_copied(mm, old_frame, new_frame)
    get_page(w, new_frame)
    if w.file_frames >> new_frame & 1:
        add_rmap(w, mm, page, new_frame)
    set_pte(w, cpu, mm, page, entry)


@step("migrate_folio_done", "free", takes="frame frame")
def migrate_end(w: World, _cpu: int, s: Step) -> None:
    _, old_frame, new_frame = s
    unlock_page(w, old_frame)
    if new_frame != old_frame:
        unlock_page(w, new_frame)
        put_page(w, new_frame)
    put_page(w, old_frame)
