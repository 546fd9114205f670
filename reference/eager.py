"""The reference's flush strategy: every CPU is flushed in the instant in which an entry changes.

No window is ever open, nothing is batched, deferred or skipped, and a context switch keeps nothing.
"""

from typing import ClassVar

from shootdown.machine.entry import PRESENT
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.machine.plain import Plain
from shootdown.machine.x86 import NO_ROOT
from shootdown.mm.fault_handler import FaultHandler
from shootdown.mm.flush import Walk
from shootdown.mm.frames import free_table, put_page
from shootdown.mm.mmdrop import mmdrop_gone
from shootdown.mm.page_cache import remove_rmap
from shootdown.mm.state import FLUSHES, INIT_MM, INVALIDATED, IPIS, MMS, POKING_MM, Step
from shootdown.mm.step import NAMES, points_of_models, push, step
from shootdown.mm.tables import pmd_of
from shootdown.mm.text_poke import poking_root
from shootdown.mm.thp import mkinvalid
from shootdown.mm.world import World


class EagerState(Plain):
    """The pages and tables of each CPU's gather, which are flushed already and freed at the gather's end."""

    opaque: ClassVar[bool] = False

    def __init__(self, cpus: int) -> None:
        self.pages: list[list[int]] = [[] for _ in range(cpus)]
        self.tables: list[list[tuple[int, int, int]]] = [[] for _ in range(cpus)]

    def write(self, walk: Walk, cpus: int) -> None:
        """Write nothing, because a proof is about optimized models."""

    def count_open(self, mm: int) -> int:
        """Return 0, because nothing is ever pending."""
        del mm
        return 0


class EagerFlush:
    """The strategy mm.flush.FlushStrategy with all flushes in pte_stored."""

    handler = FaultHandler.LINUX
    soft_dirty_check = True
    report_spurious = False

    def new_state(self, cpus: int, asids: int, batch: int) -> EagerState:
        del asids, batch
        return EagerState(cpus)

    def boot(self, w: World, cpu: int, mm: int) -> None:
        w.machine.load_cr3(cpu, w.root[mm], mm, noflush=False)
        w.loaded_mm[cpu] = mm

    def mm_freed(self, w: World, mm: int) -> None:
        """Do nothing: every switch flushes, so the next context with this number finds nothing."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        machine = w.machine
        for target in range(w.cpus):
            for pcid in range(MMS):
                machine.invpcid_page(target, pcid, page)
        w.costs[FLUSHES] += 1
        w.costs[IPIS] += w.cpus - 1
        w.costs[INVALIDATED] += w.cpus

    def gather_begin(self, w: World, cpu: int, mm: int) -> None:
        """Do nothing: there is no gather to open."""

    def protection_changed(
        self, w: World, cpu: int, mm: int, page: int, old: int, new: int
    ) -> None:
        """Do nothing: the change is flushed already."""

    def huge_inline(self) -> bool:
        return True

    def huge_invalid(self, pmd: int) -> int:
        """Return an entry that is not empty: a parallel MADV_DONTNEED takes an empty one for a hole (ced108037c2a)."""
        return mkinvalid(pmd)

    def huge_changed(self, w: World, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        """Do nothing: the change is flushed already."""

    def entry_cleared(
        self, w: World, cpu: int, mm: int, page: int, count: int, old: int, new: int
    ) -> None:
        """Do nothing: the change is flushed already."""

    def page_removed(self, w: World, cpu: int, frame: int, count: int) -> bool:
        _state(w).pages[cpu].extend(range(frame, frame + count))
        return False

    def dirty_folio_unmapped(self, w: World, cpu: int, mm: int, page: int) -> None:
        remove_rmap(w, mm, page)

    def table_removed(self, w: World, cpu: int, mm: int, index: int, frame: int) -> None:
        for i in range(FANOUT):
            self.pte_stored(w, cpu, mm, index * FANOUT + i)
        _state(w).tables[cpu].append((mm, index, frame))

    def table_reclaimed(self, w: World, cpu: int, mm: int, index: int, frame: int) -> None:
        self.table_removed(w, cpu, mm, index, frame)

    def faulted_table(self, w: World, mm: int, index: int, pmd: int) -> int:
        return frame_of(pmd) if pmd_of(w, mm, index) == pmd else -1

    def upper_tables_removed(self, w: World, cpu: int) -> None:
        """Do nothing: the model has no such tables, and no cached entry leads to one."""

    def pfn_vma_unmapped(self, w: World, cpu: int) -> None:
        """Do nothing: the change is flushed already."""

    def gather_flush(self, w: World, cpu: int) -> None:
        push(w, cpu, (eager_free,))

    def gather_finish(self, w: World, cpu: int) -> None:
        push(w, cpu, (eager_free,))

    def defer(self, w: World, cpu: int, mm: int, first: int, count: int) -> None:
        """Do nothing: the change is flushed already."""

    def defer_page(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Do nothing: the change is flushed already."""

    def defer_unmap(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Do nothing: the store of the entry flushes."""

    def soft_dirty_cleared(self, w: World, cpu: int, mm: int) -> None:
        """Do nothing: the change is flushed already."""

    def due(self, w: World, cpu: int, point: int) -> None:
        """Do nothing: no flush is ever due."""

    def flush_batched_pending(self, w: World, cpu: int, mm: int) -> None:
        """Do nothing: no flush is ever pending."""

    def flush_pending(self, w: World, mm: int) -> bool:
        del w, mm
        return False

    def pte_accessible(self, w: World, mm: int, entry: int) -> bool:
        del w, mm
        return bool(entry & PRESENT)

    def asks_unlocked(self) -> bool:
        return False

    def replacing_huge(self, w: World, cpu: int, mm: int, index: int) -> None:
        """Do nothing: the next store overwrites the entry."""

    def pending_before_merge(self, w: World, mm: int) -> bool:
        del w, mm
        return False

    def spurious_fault(self, w: World, cpu: int, mm: int) -> None:
        """Do nothing: no entry is ever stale."""

    def flush_range(self, w: World, cpu: int, mm: int, first: int, count: int) -> None:
        """Do nothing: the change is flushed already."""

    def gather_finish_free(self, w: World, cpu: int) -> None:
        self.gather_finish(w, cpu)

    def tick(self, w: World, cpu: int) -> None:
        """Do nothing: no flush is ever postponed."""

    def addresses_reused(self, w: World, cpu: int, mm: int) -> None:
        """Do nothing: no entry is cached for the addresses."""

    def collapse_syncs(self) -> bool:
        return True

    def collapse_defers_free(self) -> bool:
        return True

    def pmd_checked_again(self) -> bool:
        return True

    def switch_mm(self, w: World, cpu: int, mm: int) -> None:
        w.lazy[cpu] = False
        w.loaded_mm[cpu] = mm
        w.machine.load_cr3(cpu, w.root[mm] if mm >= 0 else NO_ROOT, mm, noflush=False)
        if mm >= 0:
            w.observer.table_loaded(cpu, mm, w.root[mm])
        mmdrop_gone(w, cpu)

    def enter_lazy(self, w: World, cpu: int) -> None:
        w.lazy[cpu] = True

    def set_interrupts(self, w: World, cpu: int, *, disabled: bool) -> None:
        w.irqs_off[cpu] = disabled

    def in_temporary_mm(self, w: World, cpu: int, inside: Step) -> None:
        push(w, cpu, (eager_temporary, *inside))

    def quiesce(self, w: World) -> None:
        """Do nothing: no flush was postponed."""

    def tag_owner(self, w: World, cpu: int, pcid: int) -> int:
        del w, cpu
        return pcid if pcid < MMS else -1

    def points(self) -> tuple[str, ...]:
        return points_of_models()

    def variable(self, w: World, cpu: int) -> int:
        del w, cpu
        return 0

    def watched(self) -> "EagerFlush":
        return self

    def step_name(self, w: World, cpu: int, s: Step) -> str:
        del w, cpu
        return NAMES[s[0]]

    def behind(self, w: World, mm: int) -> tuple[int, int]:
        del w, mm
        return 0, 0


def _state(w: World) -> EagerState:
    state = w.flush_state
    assert isinstance(state, EagerState), "the reference strategy runs on the state that it made"
    return state


@step("free the batch", "free")
def eager_free(w: World, cpu: int, _s: Step) -> bool:
    """Free the batch; tables wait for lockless walkers, which an immediate flush does not reach."""
    state = _state(w)
    if w.walkers and state.tables[cpu]:
        return True
    for frame in state.pages[cpu]:
        put_page(w, frame)
    for mm, index, frame in state.tables[cpu]:
        free_table(w, mm, index, frame)
    state.pages[cpu].clear()
    state.tables[cpu].clear()
    return False


@step("use_temporary_mm", "switch")
def eager_temporary(w: World, cpu: int, s: Step) -> None:
    """Load the temporary space under its own PCID, which every load empties; a lazy CPU does not return to the space
    that it has borrowed.
    """
    inside = s[1:]
    mm = INIT_MM if w.lazy[cpu] else w.loaded_mm[cpu]
    w.irqs_off[cpu] = True
    w.loaded_mm[cpu] = POKING_MM
    w.machine.load_cr3(cpu, poking_root(w), MMS, noflush=False)
    push(w, cpu, inside, (eager_back, mm))


@step("unuse_temporary_mm", "switch")
def eager_back(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    w.loaded_mm[cpu] = mm
    w.machine.load_cr3(cpu, w.root[mm] if mm >= 0 else NO_ROOT, max(mm, 0), noflush=False)
    w.irqs_off[cpu] = False
