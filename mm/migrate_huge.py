"""Migration of a misplaced huge page in a hint fault, as in migrate_misplaced_transhuge_page until Linux 5.14.

There is no migration entry: the PMD stays PROTNONE while the page is copied, so an access faults and waits for the page
lock. No TLB may hold the entry when the copy begins, which the caller ensures.
Then the new entry is stored over the old one, without clearing it first: MADV_DONTNEED looks without the lock and takes
an empty entry for a hole (d7c3393413fe).
"""

from shootdown.machine.entry import PFN_MASK
from shootdown.machine.geometry import FANOUT, FRAME_BITS, frame_of
from shootdown.mm.change_protection import hinted_entry
from shootdown.mm.frames import get_page, put_page
from shootdown.mm.locks import pmd_lock, pmd_unlock
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import pmd_of, set_pmd_leaf
from shootdown.mm.world import World


def folio_bits(first: int) -> int:
    """Return the bits of the huge page's frames in World.page_lock."""
    return (1 << FANOUT) - 1 << first


def migrate_huge(w: World, cpu: int, mm: int, index: int, pmd: int, new_frame: int) -> None:
    """Begin to migrate, under the PMD lock, the page of a PROTNONE PMD to the block of frames from `new_frame`.

    No other mapping has the page: its frames are not locked and have one reference each. The steps begin without the
    lock.
    """
    first_frame = frame_of(pmd)
    w.page_lock |= folio_bits(first_frame)
    for offset in range(FANOUT):
        get_page(w, first_frame + offset)
    copies = [(migrate_page_copy, mm, index, pmd, offset, new_frame) for offset in range(FANOUT)]
    push(w, cpu, *copies, (pmd_lock, mm), (replace_pmd, mm, index, pmd, new_frame))


@step("migrate_page_copy", "copy", takes="mm index entry offset frame")
def migrate_page_copy(w: World, _cpu: int, s: Step) -> None:
    """Copy one of the frames, without a lock.

    If the PMD is split meanwhile, stores may change its pages again, but then no mapping gets the copy.
    """
    _, mm, index, pmd, offset, new_frame = s
    old_frame = frame_of(pmd) + offset
    if pmd_of(w, mm, index) == pmd:
        w.observer.copying(old_frame)
    w.machine.memory[new_frame + offset << 2] = w.machine.memory[old_frame << 2]


@step("pmd_same, page_ref_freeze", "check", takes="mm index entry frame")
def replace_pmd(w: World, cpu: int, s: Step) -> None:
    """Replace the entry under the PMD lock, or give the copy up if anything has changed; every way out releases the
    lock.

    page_ref_freeze demands two references: the mapping's and the migration's.
    """
    _, mm, index, pmd, new_frame = s
    first_frame = frame_of(pmd)
    if pmd_of(w, mm, index) != pmd or w.refs[first_frame : first_frame + FANOUT] != [2] * FANOUT:
        unused_frame = new_frame
        push(w, cpu, (pmd_unlock, mm), (migrate_huge_end, first_frame, unused_frame))
        return
    unused_frame = first_frame
    push(
        w,
        cpu,
        (install_copy, mm, index, pmd, new_frame),
        (pmd_unlock, mm),
        (migrate_huge_end, first_frame, unused_frame),
    )
    w.flush.replacing_huge(w, cpu, mm, index)


@step("set_pmd_at", "install", takes="mm index entry frame")
def install_copy(w: World, cpu: int, s: Step) -> None:
    _, mm, index, pmd, new_frame = s
    first_frame = frame_of(pmd)
    for i in range(FANOUT):
        w.observer.object_copied(mm, first_frame + i, new_frame + i)
    entry = hinted_entry(pmd, w.vma[mm][index * FANOUT])
    set_pmd_leaf(w, cpu, mm, index, entry & ~PFN_MASK | FRAME_BITS[new_frame])
    for frame in range(first_frame, first_frame + FANOUT):
        put_page(w, frame)


@step("put_page", "free", takes="frame frame")
def migrate_huge_end(w: World, _cpu: int, s: Step) -> None:
    """Unlock the old page, drop its reference, and free the copy if it was given up.

    `unused_frame`: the first frame of such a copy, else that of the old page.
    """
    _, first_frame, unused_frame = s
    w.page_lock &= ~folio_bits(first_frame)
    for frame in range(first_frame, first_frame + FANOUT):
        put_page(w, frame)
    if unused_frame != first_frame:
        for frame in range(unused_frame, unused_frame + FANOUT):
            put_page(w, frame)
