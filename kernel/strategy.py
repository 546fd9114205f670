"""The flush strategy of a kernel's own text: what the text does not have is as in the optimized model."""

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from shootdown.kernel.library import (
    BACK,
    BATCH_ADD,
    BATCH_FLUSH,
    FINISH,
    FLUSH_GATHER,
    FLUSH_TLBONLY,
    GATHER,
    LAZY,
    PAGE,
    RECORD,
    RECORD_TABLE,
    STOPS,
    SWITCH,
    TABLE,
    Library,
)
from shootdown.kernel.machinery import PLAIN, WATCHED, Machinery
from shootdown.kernel.notes import carry_out
from shootdown.kernel.state import KernelState
from shootdown.kernel.steps import (
    GOES_ON,
    batched_done,
    call,
    call_flush,
    call_switch,
    call_temporary,
    gather_closed,
    switched,
)
from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.mm.page_cache import drop_rmap
from shootdown.mm.state import FLUSHES, Step
from shootdown.mm.step import POINTS, STEP_POINTS, points_of_models, push
from shootdown.mm.text_poke import poking_root
from shootdown.mm.world import World
from shootdown.optimized.deferral import merged
from shootdown.optimized.state import X86State
from shootdown.optimized.strategy import GatherFlush

_TEMPORARY: Final = 3
CALLS: Final = {
    BATCH_FLUSH: "arch_tlbbatch_flush",
    FINISH: "tlb_finish_mmu",
    FLUSH_GATHER: "tlb_flush_mmu",
    FLUSH_TLBONLY: "tlb_flush_mmu_tlbonly",
    BACK: "unuse_temporary_mm",
}
"""The names of the text's functions that steps call."""


@mypyc_attr(allow_interpreted_subclasses=True)
class KernelFlush(GatherFlush):
    """The strategy mm.flush.FlushStrategy; a subclass of it has the text."""

    machinery: ClassVar[Machinery]
    libraries: ClassVar[dict[tuple[int, str], Library]]
    form: str = PLAIN

    def new_state(self, cpus: int, asids: int, batch: int) -> X86State:
        kind = type(self)
        form = (asids, self.form)
        library = kind.libraries.get(form)
        if library is None:
            path = kind.machinery.library(*form)
            library = kind.libraries[form] = Library(path, kind.machinery.sources)
        return KernelState(library, cpus, asids, batch)

    # Contexts.

    def boot(self, w: World, cpu: int, mm: int) -> None:
        state: KernelState = w.flush_state
        library = state.library
        if not cpu:
            state.broadcasts = w.machine.has_invlpgb
        state.change()
        library.call(cpu, 0, SWITCH, mm, w.root[mm], 0, 0)
        # What it asks for needs no look: an address space is loaded that has never been loaded.
        w.machine.load_cr3(cpu, w.root[mm], library.c.kernel_asid(cpu), noflush=True)
        w.loaded_mm[cpu] = mm

    def enter_lazy(self, w: World, cpu: int) -> None:
        now(w, cpu, LAZY, 0, 0, 0)

    def set_interrupts(self, w: World, cpu: int, *, disabled: bool) -> None:
        w.irqs_off[cpu] = disabled
        changing(w).library.c.kernel_set_interrupts(cpu, int(disabled))

    def switch_mm(self, w: World, cpu: int, mm: int) -> None:
        push(w, cpu, (call_switch, mm), (switched,))

    def in_temporary_mm(self, w: World, cpu: int, inside: Step) -> None:
        state = changing(w)
        state.library.c.kernel_set_table(_TEMPORARY, poking_root(w))
        push(w, cpu, (call_temporary, *inside))

    def tick(self, w: World, cpu: int) -> None:
        changing(w).library.c.kernel_tick()

    def mm_freed(self, w: World, mm: int) -> None:
        state = changing(w)
        state.library.c.kernel_new_space(mm)
        state.batched[mm] = state.batched_flushed[mm] = 0

    def quiesce(self, w: World) -> None:
        state = changing(w)
        count: int = state.library.c.kernel_quiesce(w.cpus)
        if count:
            carry_out(w, state, count)

    # Gathers.

    def gather_begin(self, w: World, cpu: int, mm: int) -> None:
        state: KernelState = w.flush_state
        state.gather_mm[cpu] = mm
        now(w, cpu, GATHER, mm, state.batch, 0)

    def record(self, w: World, cpu: int, first: int, count: int) -> None:
        now(w, cpu, RECORD, first << 12, count << 12, 0)

    def page_removed(self, w: World, cpu: int, frame: int, count: int) -> bool:
        state: KernelState = w.flush_state
        state.gather_pages[cpu].append((frame, count))
        return now(w, cpu, PAGE, frame, 0, 0)

    def dirty_folio_unmapped(self, w: World, cpu: int, mm: int, page: int) -> None:
        push(w, cpu, (call, FLUSH_TLBONLY), (drop_rmap, mm, page))

    def pfn_vma_unmapped(self, w: World, cpu: int) -> None:
        push(w, cpu, (call, FLUSH_TLBONLY))

    def gather_flush(self, w: World, cpu: int) -> None:
        push(w, cpu, (call, FLUSH_GATHER))

    def gather_finish(self, w: World, cpu: int) -> None:
        push(w, cpu, (call, FINISH), (gather_closed,))

    # Page tables.

    def table_removed(self, w: World, cpu: int, mm: int, index: int, frame: int) -> None:
        state: KernelState = w.flush_state
        state.tables[frame] = (mm, index)
        now(w, cpu, RECORD_TABLE, index * FANOUT << 12, 1 << 12, 0)
        now(w, cpu, TABLE, frame, 0, 0)

    def upper_tables_removed(self, w: World, cpu: int) -> None:
        now(w, cpu, RECORD_TABLE, 0, PAGES << 12, 0)

    # Deferral.

    def defer_unmap(self, w: World, cpu: int, mm: int, page: int) -> None:
        state: KernelState = w.flush_state
        state.batched[mm] += 1
        state.unmapping |= 1 << cpu
        now(w, cpu, BATCH_ADD, mm, page << 12, 0)

    def due(self, w: World, cpu: int, point: int) -> None:
        state = entered(w)
        ranges = state.deferred[cpu]
        if ranges:
            push(
                w,
                cpu,
                *[
                    (call_flush, mm, first, count, freed)
                    for mm, first, count, freed in merged(ranges)
                ],
            )
            state.deferred[cpu] = []
        if state.unmapping >> cpu & 1 and state.library.c.kernel_batched(cpu):
            state.unmapping &= ~(1 << cpu)
            w.costs[FLUSHES] += 1
            push(w, cpu, (call, BATCH_FLUSH))

    def flush_batched_pending(self, w: World, cpu: int, mm: int) -> None:
        state: KernelState = w.flush_state
        batched = state.batched[mm]
        if batched != state.batched_flushed[mm]:
            push(w, cpu, (call_flush, mm, 0, PAGES, 1), (batched_done, mm, batched))

    def flush_pending(self, w: World, mm: int) -> bool:
        state: KernelState = w.flush_state
        return state.count_open(mm) > 0

    def pte_accessible(self, w: World, mm: int, entry: int) -> bool:
        return bool(entry & 1) or self.flush_pending(w, mm)

    def pending_before_merge(self, w: World, mm: int) -> bool:
        return self.flush_pending(w, mm)

    # Immediate flushes.

    def flush_range(self, w: World, cpu: int, mm: int, first: int, count: int) -> None:
        push(w, cpu, (call_flush, mm, first, count, int(count > 1)))

    # Feedback.

    def tag_owner(self, w: World, cpu: int, pcid: int) -> int:
        state = entered(w)
        owner: int = state.library.c.kernel_owner(cpu, state.asid_of(pcid))
        return owner

    def variable(self, w: World, cpu: int) -> int:
        state = entered(w)
        mm = w.task_mm[cpu]
        recorded: int = state.library.c.kernel_recorded(cpu) if state.gather_mm[cpu] >= 0 else 0
        deferred = bool(state.deferred[cpu]) + 2 * (state.batched[mm] != state.batched_flushed[mm])
        return recorded * 4 + deferred

    def watched(self) -> "KernelFlush":
        return self.in_form(WATCHED)

    def in_form(self, form: str) -> "KernelFlush":
        """Return this strategy with the libraries of another form (kernel.machinery.FORMS)."""
        other = type(self)(
            self.needs_flush,
            self.huge_needs_flush,
            inline=self.inline,
            handler=self.handler,
            report_spurious=self.report_spurious,
            soft_dirty_check=self.soft_dirty_check,
        )
        other.form = form
        return other

    def unstopped(self) -> tuple[tuple[str, str, bool], ...]:
        """Return the accesses of the runs in the form REPORTED, to what CPUs share, that have no stop before them:
        the function, the place as `file:line`, and whether it writes.
        """
        found: set[tuple[str, str, bool]] = set()
        for library in type(self).libraries.values():
            accesses = library.unstopped()
            places = library.places.of([code for code, _ in accesses])
            found.update(
                (*place, writes) for place, (_, writes) in zip(places, accesses, strict=True)
            )
        return tuple(sorted(found))

    def points(self) -> tuple[str, ...]:
        """Return the points of the models, and those of the text."""
        models = points_of_models()
        return tuple(point for point in STEP_POINTS if point in models or point in STOPS)

    def step_name(self, w: World, cpu: int, s: Step) -> str:
        if s[0] == call:
            return CALLS[s[1]]
        name = super().step_name(w, cpu, s)
        if s[0] in GOES_ON:
            library = entered(w).library
            place = library.places.named(library.c.kernel_stopped_at(cpu))
            point = POINTS[s[0]]
            if point == "ack":
                return f"cpu{s[1]} is interrupted"
            return f"{place} ({f'cpu{s[1]}' if point == 'remote' else point})" if place else name
        return name

    def behind(self, w: World, mm: int) -> tuple[int, int]:
        state = entered(w)
        both: int = state.library.c.kernel_behind(mm, w.cpus)
        if both < 0:
            return min(state.need_tlbsync.bit_count(), 3), 0
        return both & 3, both >> 2


def entered(w: World) -> KernelState:
    """Return the state of a world, which is in the library from here on."""
    state: KernelState = w.flush_state
    state.enter()
    return state


def changing(w: World) -> KernelState:
    """Return the state of a world, which is in the library from here on, and about to change."""
    state: KernelState = w.flush_state
    state.change()
    return state


def now(w: World, cpu: int, function: int, a: int, b: int, c: int) -> bool:
    """Call a function that does not stop, and return its answer."""
    state: KernelState = w.flush_state
    state.change()
    result: int = state.library.now(cpu, function, a, b, c)
    if result >> 16:
        carry_out(w, state, result >> 16)
    return bool(result & 1)
