"""The steps of switch_mm_irqs_off, and ASID allocation (linux-tlb B.3)."""

from shootdown.mm.mmdrop import mmdrop_gone
from shootdown.mm.state import FULL, SWITCHING, Step
from shootdown.mm.step import push, step
from shootdown.mm.world import World
from shootdown.optimized.flush_func import delivery_of
from shootdown.optimized.global_asid import adopt, assign
from shootdown.optimized.state import FIRST_GLOBAL, X86State


def push_switch(w: World, cpu: int, mm: int) -> None:
    """Put the steps of a switch of the CPU to `mm` before its pending steps."""
    if w.loaded_mm[cpu] == mm:
        if w.lazy[cpu]:
            push(w, cpu, (unlazy, mm), (unlazy_check, mm))
    else:
        push(w, cpu, (switch_begin, mm), (choose_asid, mm))


@step("switch_mm: leave lazy", "switch")
def unlazy(w: World, cpu: int, s: Step) -> None:
    """Leave lazy mode: from here on flushes interrupt this CPU again, once it has enabled interrupts.

    A flush of freed tables may have switched the lazy CPU to init_mm since the switch began: then load the space again.
    """
    _, mm = s
    if w.loaded_mm[cpu] != mm:
        w.steps[cpu].pop()
        push_switch(w, cpu, mm)
        return
    w.irqs_off[cpu] = True
    w.lazy[cpu] = False


@step("switch_mm: compare generations", "generation")
def unlazy_check(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    state: X86State = w.flush_state
    slot = state.asid[cpu]
    if state.global_asid[mm] >= 0:
        if slot < FIRST_GLOBAL:
            adopt(w, cpu, mm)
    elif state.ctx_gen[cpu][slot] < state.tlb_gen[mm]:
        w.machine.invpcid_context(cpu, slot)
        w.costs[FULL] += 1
        state.ctx_gen[cpu][slot] = state.tlb_gen[mm]
    w.irqs_off[cpu] = False


@step("switch_mm: LOADED_MM_SWITCHING, set cpumask", "switch")
def switch_begin(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    w.irqs_off[cpu] = True
    w.loaded_mm[cpu] = SWITCHING
    w.lazy[cpu] = False
    state: X86State = w.flush_state
    state.cpumask[mm] |= 1 << cpu


@step("choose_new_asid", "generation")
def choose_asid(w: World, cpu: int, s: Step) -> None:
    """Find the context's slot, or take the next one in turn; read the generation that load_cr3 stores.

    A global ASID needs neither a slot nor a flush.
    """
    _, mm = s
    state: X86State = w.flush_state
    generation = state.tlb_gen[mm]
    owners = state.ctx_mm[cpu]
    if state.global_asid[mm] < 0 and delivery_of(w).has_only_global_asids():
        assign(w, cpu, mm)
    if state.global_asid[mm] >= 0:
        asid = state.global_asid[mm]
        flush = False
    elif mm in owners:
        asid = owners.index(mm)
        flush = state.ctx_gen[cpu][asid] < generation
    else:
        asid = state.next_asid[cpu]
        state.next_asid[cpu] = (asid + 1) % state.asids
        flush = delivery_of(w).flush_recycled_asid()
    push(w, cpu, (load_cr3, mm, asid, int(flush), generation))


@step("write CR3", "cr3", takes="mm asid flag generation")
def load_cr3(w: World, cpu: int, s: Step) -> None:
    _, mm, asid, flush, generation = s
    state: X86State = w.flush_state
    if asid < FIRST_GLOBAL:
        state.ctx_mm[cpu][asid] = mm
        state.ctx_gen[cpu][asid] = generation
    if flush:
        w.costs[FULL] += 1
    state.asid[cpu] = asid
    load_table(w, cpu, mm, w.root[mm], asid, flush=bool(flush))
    w.loaded_mm[cpu] = mm
    w.irqs_off[cpu] = False
    mmdrop_gone(w, cpu)


def load_table(w: World, cpu: int, mm: int, root: int, slot: int, *, flush: bool) -> None:
    """Load the top-level table of `mm` into CR3, under an ASID; a freed table is a violation."""
    w.machine.load_cr3(cpu, root, slot, noflush=not flush)
    w.observer.table_loaded(cpu, mm, root)
