"""Hint faults: the accesses that a NUMA scan makes visible (do_numa_page, do_huge_pmd_numa_page).

The entry is made present again under its lock, with no flush, because the old one was not PRESENT; or the page is
misplaced, and is migrated first.
"""

from typing import Final

from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.change_protection import hinted_entry
from shootdown.mm.frames import alloc_huge
from shootdown.mm.locks import pmd_lock, pmd_unlock, pte_unlock
from shootdown.mm.migrate import isolate_and_migrate
from shootdown.mm.migrate_huge import folio_bits, migrate_huge
from shootdown.mm.page_cache import wait_folio
from shootdown.mm.state import Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import pmd_of, set_pmd_leaf, set_pte
from shootdown.mm.world import World

_NOT_ASKED: Final = -1


@step("do_numa_page", "install", takes="page entry")
def do_numa_page(w: World, cpu: int, s: Step) -> None:
    """Serve the fault under the PTL; every way out releases the lock.

    A dirty folio of the file is not migrated, because not every filesystem can do that without waiting.
    """
    _, page, pte = s
    mm = w.task_mm[cpu]
    unlock = (pte_unlock, mm, page // FANOUT)
    frame = frame_of(pte)
    misplaced = w.misplaced >> frame & 1 and not w.dirty >> frame & 1
    if not (misplaced and isolate_and_migrate(w, cpu, frame)):
        set_pte(w, cpu, mm, page, hinted_entry(pte, w.vma[mm][page]))
    push(w, cpu, unlock)


def fault_on_huge(w: World, cpu: int, page: int, pmd: int) -> None:
    """Continue a fault on a huge PMD that was PROTNONE when it was read without its lock."""
    mm = w.task_mm[cpu]
    asked = _NOT_ASKED
    if w.flush.asks_unlocked():
        asked = int(w.flush.pte_accessible(w, mm, pmd))
    push(w, cpu, (pmd_lock, mm), (do_huge_pmd_numa_page, page, pmd, asked))


@step("do_huge_pmd_numa_page", "install", takes="page entry flag")
def do_huge_pmd_numa_page(w: World, cpu: int, s: Step) -> None:
    """Serve the fault under the PMD lock; every way out releases the lock.

    The question whether the scan's flush is pending is asked under the lock, which orders it after the change that made
    the entry PROTNONE (a9b802500ebb).
    """
    _, page, pmd, asked = s
    mm = w.task_mm[cpu]
    index = page // FANOUT
    if pmd_of(w, mm, index) != pmd:
        push(w, cpu, (pmd_unlock, mm))
        return
    first = frame_of(pmd)
    locked = w.page_lock & folio_bits(first)
    if locked:
        # A migration has locked the page: wait, without the PMD lock, and try again.
        locked_frame = locked.bit_length() - 1
        push(w, cpu, (pmd_unlock, mm), (wait_folio, locked_frame))
        return
    exclusive = w.refs[first : first + FANOUT] == [1] * FANOUT
    new = alloc_huge(w) if w.misplaced >> first & 1 and exclusive else -1
    if new < 0:
        set_pmd_leaf(w, cpu, mm, index, hinted_entry(pmd, w.vma[mm][page]))
        push(w, cpu, (pmd_unlock, mm))
        return
    migrate_huge(w, cpu, mm, index, pmd, new)
    push(w, cpu, (pmd_unlock, mm))
    pending = w.flush.pte_accessible(w, mm, pmd) if asked == _NOT_ASKED else bool(asked)
    if pending:
        w.flush.flush_range(w, cpu, mm, index * FANOUT, FANOUT)
