"""The optimized flush strategy: mmu_gather with a need-flush rule, over x86's generations.

Order of an mmu_gather: unhook, invalidate, free (linux-tlb B.1).
A seeded fault is a subclass that replaces one decision.
"""

from collections.abc import Callable

from mypy_extensions import mypyc_attr

from shootdown.machine.entry import PRESENT
from shootdown.machine.geometry import FANOUT, PAGES, frame_of
from shootdown.mm.fault_handler import FaultHandler
from shootdown.mm.page_cache import drop_rmap
from shootdown.mm.state import INVALIDATED, MMS, Step
from shootdown.mm.step import push, step
from shootdown.mm.tables import pmd_of
from shootdown.mm.thp import mkinvalid
from shootdown.mm.world import World
from shootdown.optimized.broadcast import wait_tlbsync
from shootdown.optimized.flush_func import NO_GENERATION
from shootdown.optimized.gather_end import free_of, gather_end
from shootdown.optimized.shootdown import batch_flush, flush_send, should_flush_tlb
from shootdown.optimized.state import FIRST_GLOBAL, Gather, X86State
from shootdown.optimized.switch import push_switch
from shootdown.optimized.temporary import back_from, load_in_next_slot, use_temporary_mm


@mypyc_attr(allow_interpreted_subclasses=True)
class GatherFlush:
    """Implements mm.flush.FlushStrategy; see there for what each method is told and must do."""

    def __init__(
        self,
        needs_flush: Callable[[int, int], bool],
        huge_needs_flush: Callable[[int, int], bool],
        *,
        inline: bool,
        handler: FaultHandler = FaultHandler.LINUX,
        report_spurious: bool,
        soft_dirty_check: bool = True,
    ) -> None:
        self.needs_flush = needs_flush
        self.huge_needs_flush = huge_needs_flush
        self.inline = inline
        self.handler = handler
        self.report_spurious = report_spurious
        self.soft_dirty_check = soft_dirty_check

    def new_state(self, cpus: int, asids: int, batch: int) -> X86State:
        return X86State(cpus, asids, batch)

    def boot(self, w: World, cpu: int, mm: int) -> None:
        state: X86State = w.flush_state
        state.ctx_mm[cpu][0] = mm
        state.ctx_gen[cpu][0] = state.tlb_gen[mm]
        state.next_asid[cpu] = 1 % state.asids
        state.cpumask[mm] |= 1 << cpu
        w.machine.load_cr3(cpu, w.root[mm], 0, noflush=True)
        w.loaded_mm[cpu] = mm

    def mm_freed(self, w: World, mm: int) -> None:
        """Forget which slots were the context's: Linux leaves its ctx_id there, which no later context ever has.

        So a new address space of this number finds no slot, as in Linux, and takes one that is flushed; its mask is
        empty. The generation goes on, because only how far a slot is behind it is ever asked.
        """
        state: X86State = w.flush_state
        for owners in state.ctx_mm:
            if mm in owners:
                owners[owners.index(mm)] = -1
        state.cpumask[mm] = 0
        state.batched[mm] = state.batched_flushed[mm] = 0
        state.global_asid[mm] = -1
        state.transition &= ~(1 << mm)

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """A store by itself invalidates nothing."""

    # mmu_gather.

    def gather_begin(self, w: World, cpu: int, mm: int) -> None:
        state: X86State = w.flush_state
        state.gathers[cpu] = Gather(mm)
        state.pending[mm] += 1

    def protection_changed(
        self, w: World, cpu: int, mm: int, page: int, old: int, new: int
    ) -> None:
        if self.needs_flush(old, new):
            self.record(w, cpu, page, 1)
        else:
            w.observer.skipped(cpu, mm, page, old, new)

    def huge_inline(self) -> bool:
        return self.inline

    def huge_invalid(self, pmd: int) -> int:
        """Never none: a parallel MADV_DONTNEED would take it for a hole (ced108037c2a)."""
        return mkinvalid(pmd)

    def huge_changed(self, w: World, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        if self.inline:
            return
        if self.huge_needs_flush(old, new):
            self.record(w, cpu, page, FANOUT)
        else:
            for i in range(FANOUT):
                w.observer.skipped(cpu, mm, page + i, old, new)

    def entry_cleared(
        self, w: World, cpu: int, mm: int, page: int, count: int, old: int, new: int
    ) -> None:
        self.record(w, cpu, page, count)

    def record(self, w: World, cpu: int, first: int, count: int) -> None:
        """tlb_flush_pte_range: widen the range of the CPU's gather."""
        self.gather_of(w, cpu).record(first, count)

    def gather_of(self, w: World, cpu: int) -> Gather:
        """Return the CPU's open gather."""
        state: X86State = w.flush_state
        gather = state.gathers[cpu]
        assert gather is not None, "operations record from gather_begin to gather_finish only"
        return gather

    def page_removed(self, w: World, cpu: int, frame: int) -> bool:
        gather = self.gather_of(w, cpu)
        gather.pages.append(frame)
        state: X86State = w.flush_state
        return len(gather.pages) >= state.batch

    def dirty_folio_unmapped(self, w: World, cpu: int, mm: int, page: int) -> None:
        gather = self.gather_of(w, cpu)
        push(w, cpu, *self.flush_of(gather), (drop_rmap, mm, page))
        gather.reset_range()

    def table_removed(self, w: World, cpu: int, mm: int, index: int, frame: int) -> None:
        gather = self.gather_of(w, cpu)
        gather.record(index * FANOUT, FANOUT)
        gather.freed_tables = True
        gather.tables.append((index, frame))

    def table_reclaimed(self, w: World, cpu: int, mm: int, index: int, frame: int) -> None:
        self.table_removed(w, cpu, mm, index, frame)

    def faulted_table(self, w: World, mm: int, index: int, pmd: int) -> int:
        return frame_of(pmd) if pmd_of(w, mm, index) == pmd else -1

    def upper_tables_removed(self, w: World, cpu: int) -> None:
        """Flush everything, on lazy CPUs as well."""
        gather = self.gather_of(w, cpu)
        gather.record(0, PAGES)
        gather.freed_tables = True

    def pfn_vma_unmapped(self, w: World, cpu: int) -> None:
        """tlb_flush_mmu_tlbonly: nothing else keeps the driver's frames (b67fbebd4cf9)."""
        gather = self.gather_of(w, cpu)
        push(w, cpu, *self.flush_of(gather))
        gather.reset_range()

    def gather_flush(self, w: World, cpu: int) -> None:
        gather = self.gather_of(w, cpu)
        push(w, cpu, *self.flush_of(gather), *free_of(gather))
        gather.reset_range()

    def flush_of(self, gather: Gather) -> list[Step]:
        """Return the flush that the gather's range asks for; none when nothing was recorded."""
        if not gather.end:
            return []
        count = gather.end - gather.start
        return [(flush_send, gather.mm, gather.start, count, int(gather.freed_tables))]

    def gather_finish(self, w: World, cpu: int) -> None:
        gather = self.gather_of(w, cpu)
        if self.is_nested(w, gather):
            # Another gather of this address space is open: its changes, which this operation may have seen and passed
            # over, are not flushed yet. Flush everything, recorded or not (99baac21e458).
            self.upper_tables_removed(w, cpu)
        push(w, cpu, *self.finish_steps(gather))

    def finish_steps(self, gather: Gather) -> list[Step]:
        """Return the end of a gather: flush, free, and only then say that nothing is pending any more."""
        return [*self.flush_of(gather), *free_of(gather), (gather_end,)]

    def is_nested(self, w: World, gather: Gather) -> bool:
        """mm_tlb_flush_nested: more than one gather of the address space is open."""
        state: X86State = w.flush_state
        return state.pending[gather.mm] > 1

    def gather_finish_free(self, w: World, cpu: int) -> None:
        self.gather_finish(w, cpu)

    # Flushes outside a gather.

    def defer(self, w: World, cpu: int, mm: int, first: int, count: int) -> None:
        state: X86State = w.flush_state
        state.deferred[cpu].append((mm, first, count, 1))

    def defer_page(self, w: World, cpu: int, mm: int, page: int) -> None:
        state: X86State = w.flush_state
        state.deferred[cpu].append((mm, page, 1, 0))

    def defer_unmap(self, w: World, cpu: int, mm: int, page: int) -> None:
        """arch_tlbbatch_add_pending: raise the generation now, and add the address space's CPUs to the task's batch.

        With a global ASID issue a broadcast instead; in transition do both, for those that have not come to it yet.
        """
        state: X86State = w.flush_state
        state.batched[mm] += 1
        asid = state.global_asid[mm]
        if asid >= 0:
            w.machine.invlpgb(cpu, asid, page)
            w.costs[INVALIDATED] += w.cpus
            state.need_tlbsync |= 1 << cpu
            if not state.transition >> mm & 1:
                return
        state.tlb_gen[mm] += 1
        state.unmap_mask[cpu] |= state.cpumask[mm]

    def soft_dirty_cleared(self, w: World, cpu: int, mm: int) -> None:
        self.defer(w, cpu, mm, 0, PAGES)

    def due(self, w: World, cpu: int, point: int) -> None:
        state: X86State = w.flush_state
        ranges = state.deferred[cpu]
        if ranges:
            push(w, cpu, *merged(ranges))
            state.deferred[cpu] = []
        if state.unmap_mask[cpu] or state.need_tlbsync:
            push(w, cpu, *self.unmap_flush(w, cpu))

    def unmap_flush(self, w: World, cpu: int) -> list[Step]:
        """arch_tlbbatch_flush: wait for what was broadcast, and interrupt those whose address space has no global ASID;
        a batch may need both.
        """
        state: X86State = w.flush_state
        wait: list[Step] = [(wait_tlbsync,)] if state.need_tlbsync >> cpu & 1 else []
        return [*wait, (batch_flush,)] if state.unmap_mask[cpu] else wait

    def flush_batched_pending(self, w: World, cpu: int, mm: int) -> None:
        state: X86State = w.flush_state
        batched = state.batched[mm]
        if batched != state.batched_flushed[mm]:
            push(w, cpu, (flush_send, mm, 0, PAGES, 1), (batched_done, mm, batched))

    def flush_pending(self, w: World, mm: int) -> bool:
        state: X86State = w.flush_state
        return state.pending[mm] > 0

    def pte_accessible(self, w: World, mm: int, entry: int) -> bool:
        """What made an entry PROTNONE counts as pending until it has flushed (20841405940e)."""
        state: X86State = w.flush_state
        return bool(entry & PRESENT) or state.pending[mm] > 0

    def asks_unlocked(self) -> bool:
        return False

    def replacing_huge(self, w: World, cpu: int, mm: int, index: int) -> None:
        """Overwrite the entry: no TLB holds it, and none in between would be taken for a hole (d7c3393413fe)."""

    def pending_before_merge(self, w: World, mm: int) -> bool:
        state: X86State = w.flush_state
        return state.pending[mm] > 0

    def spurious_fault(self, w: World, cpu: int, mm: int) -> None:
        """The fault has dropped the entry that caused it, and nothing else is stale that denies."""

    def flush_range(self, w: World, cpu: int, mm: int, first: int, count: int) -> None:
        push(w, cpu, (flush_send, mm, first, count, int(count > 1)))

    def addresses_reused(self, w: World, cpu: int, mm: int) -> None:
        """Nothing: who has unmapped there has flushed."""

    def tick(self, w: World, cpu: int) -> None:
        """Time passes, so the next flush of each address space trims its mask (should_trim_cpumask: once a second)."""
        state: X86State = w.flush_state
        state.trim_due = (1 << MMS) - 1

    # Lockless walkers.

    def collapse_syncs(self) -> bool:
        return True

    def collapse_defers_free(self) -> bool:
        return True

    def pmd_checked_again(self) -> bool:
        return True

    # Delivery and context switches.

    def should_interrupt(self, w: World, target: int, mm: int, *, freed_tables: bool) -> bool:
        """Return whether the flush interrupts a CPU of the mask: every one when tables were freed, lazy ones too."""
        return freed_tables or should_flush_tlb(w, target, mm)

    def held_off(self, w: World, target: int) -> bool:
        """Return whether a flush waits for a CPU that has interrupts disabled, as an interrupt does."""
        return True

    def is_reached(self, generation: int, local: int) -> bool:
        """Return whether a context of generation `local` has what a flush of `generation` brings.

        A batch's flush has no generation, so it is never known to be there already (8f1d56f64f8d).
        """
        return NO_GENERATION < generation <= local

    def partial_is_enough(self, generation: int, local: int, newest: int) -> bool:
        """Return whether invalidating the flush's own range brings the context up to date."""
        return generation == local + 1 and generation == newest

    def switch_mm(self, w: World, cpu: int, mm: int) -> None:
        push_switch(w, cpu, mm)

    def in_temporary_mm(self, w: World, cpu: int, inside: Step) -> None:
        push(w, cpu, (use_temporary_mm, *inside))

    def way_back(self, w: World, cpu: int) -> Step:
        """Leave what the CPU has loaded, and return the step that ends the temporary address space."""
        return back_from(w, cpu)

    def load_temporary(self, w: World, cpu: int) -> None:
        """Load the temporary address space."""
        load_in_next_slot(w, cpu)

    def flush_recycled_asid(self) -> bool:
        """Return whether an ASID that is given to another address space is flushed."""
        return True

    def has_only_global_asids(self) -> bool:
        """Return whether every address space has a global ASID from the first time that it is loaded."""
        return False

    def quiesce(self, w: World) -> None:
        state: X86State = w.flush_state
        for cpu in range(w.cpus):
            for slot, mm in enumerate(state.ctx_mm[cpu]):
                current = slot == state.asid[cpu] and w.loaded_mm[cpu] == mm and not w.lazy[cpu]
                if mm >= 0 and not current and state.ctx_gen[cpu][slot] < state.tlb_gen[mm]:
                    w.machine.invpcid_context(cpu, slot)
                    state.ctx_gen[cpu][slot] = state.tlb_gen[mm]

    def tag_owner(self, w: World, cpu: int, pcid: int) -> int:
        """An address space that has a global ASID is not loaded under another one again."""
        state: X86State = w.flush_state
        if pcid >= FIRST_GLOBAL:
            return state.global_asid.index(pcid) if pcid in state.global_asid else -1
        slots = state.ctx_mm[cpu]
        owner = slots[pcid] if pcid < len(slots) else -1
        return (
            -1
            if owner >= 0 and state.global_asid[owner] >= 0 and pcid != state.asid[cpu]
            else owner
        )

    def variable(self, w: World, cpu: int) -> int:
        """Whether the CPU's gather has recorded anything, and what is deferred."""
        state: X86State = w.flush_state
        mm = w.task_mm[cpu]
        gather = state.gathers[cpu]
        recorded = 0 if gather is None else 2 if gather.end else 1
        deferred = bool(state.deferred[cpu]) + 2 * (state.batched[mm] != state.batched_flushed[mm])
        return recorded * 4 + deferred

    def behind(self, w: World, mm: int) -> tuple[int, int]:
        state: X86State = w.flush_state
        if state.global_asid[mm] >= 0:
            return min(state.need_tlbsync.bit_count(), 3), 0
        newest = state.tlb_gen[mm]
        flying = owed = 0
        for cpu, owners in enumerate(state.ctx_mm):
            if mm in owners:
                missed = newest - state.ctx_gen[cpu][owners.index(mm)]
                if not missed:
                    continue
                if w.loaded_mm[cpu] == mm and not w.lazy[cpu]:
                    flying = max(flying, missed)
                else:
                    owed = max(owed, missed)
        return min(flying, 3), min(owed, 15)


def merged(ranges: list[tuple[int, int, int, int]]) -> list[Step]:
    """Return one flush for each address space, over the hull of its ranges.

    flush_tlb_range and flush_tlb_mm say that page tables may have been freed, and so reach lazy CPUs, since
    3ef938c35035; flush_tlb_page and the batched unmap do not.
    """
    hull: dict[int, tuple[int, int, int]] = {}
    for mm, first, count, freed in ranges:
        start, end, any_freed = hull.get(mm, (first, first + count, 0))
        hull[mm] = (min(start, first), max(end, first + count), any_freed | freed)
    return [(flush_send, mm, start, end - start, freed) for mm, (start, end, freed) in hull.items()]


@step("flush_tlb_batched_pending done", "check")
def batched_done(w: World, _cpu: int, s: Step) -> None:
    """Say what was flushed: the work that was pending before the flush, not what came since."""
    _, mm, batched = s
    state: X86State = w.flush_state
    state.batched_flushed[mm] = max(state.batched_flushed[mm], batched)
