"""Address spaces that CPUs load, leave and forget: a slot for each ASID, with the generation that it has reached."""

from mypy_extensions import mypyc_attr

from shootdown.mm.state import MMS, Step
from shootdown.mm.step import push
from shootdown.mm.world import World
from shootdown.optimized.delivery import DeliveryStrategy
from shootdown.optimized.state import X86State
from shootdown.optimized.switch import push_switch
from shootdown.optimized.temporary import back_from, load_in_next_slot, use_temporary_mm


@mypyc_attr(allow_interpreted_subclasses=True)
class ContextStrategy(DeliveryStrategy):
    """The part mm.flush.Contexts, and optimized.temporary.Temporary; the steps of a switch are in optimized.switch."""

    def boot(self, w: World, cpu: int, mm: int) -> None:
        state: X86State = w.flush_state
        state.ctx_mm[cpu][0] = mm
        state.ctx_gen[cpu][0] = state.tlb_gen[mm]
        state.next_asid[cpu] = 1 % state.asids
        state.cpumask[mm] |= 1 << cpu
        w.machine.load_cr3(cpu, w.root[mm], 0, noflush=True)
        w.loaded_mm[cpu] = mm

    def switch_mm(self, w: World, cpu: int, mm: int) -> None:
        push_switch(w, cpu, mm)

    def enter_lazy(self, w: World, cpu: int) -> None:
        w.lazy[cpu] = True

    def set_interrupts(self, w: World, cpu: int, *, disabled: bool) -> None:
        w.irqs_off[cpu] = disabled

    def in_temporary_mm(self, w: World, cpu: int, inside: Step) -> None:
        push(w, cpu, (use_temporary_mm, *inside))

    def way_back(self, w: World, cpu: int) -> Step:
        """Leave the space that the CPU has loaded, and return the step that ends the temporary address space."""
        return back_from(w, cpu)

    def load_temporary(self, w: World, cpu: int) -> None:
        """Load the temporary address space."""
        load_in_next_slot(w, cpu)

    def tick(self, w: World, cpu: int) -> None:
        """Let the next flush of each address space trim its mask (should_trim_cpumask: once a second)."""
        state: X86State = w.flush_state
        state.trim_due = (1 << MMS) - 1

    def mm_freed(self, w: World, mm: int) -> None:
        """Forget the slots of the context: Linux leaves its ctx_id there, which no later context ever has.

        So a new address space with this number finds no slot, as in Linux, and takes one that is flushed; its mask is
        empty. The generation continues, because only the distance of a slot from it is ever used.
        """
        state: X86State = w.flush_state
        for owners in state.ctx_mm:
            if mm in owners:
                owners[owners.index(mm)] = -1
        state.cpumask[mm] = 0
        state.batched[mm] = state.batched_flushed[mm] = 0
        state.global_asid[mm] = -1
        state.transition &= ~(1 << mm)

    def quiesce(self, w: World) -> None:
        state: X86State = w.flush_state
        for cpu in range(w.cpus):
            for slot, mm in enumerate(state.ctx_mm[cpu]):
                current = slot == state.asid[cpu] and w.loaded_mm[cpu] == mm and not w.lazy[cpu]
                if mm >= 0 and not current and state.ctx_gen[cpu][slot] < state.tlb_gen[mm]:
                    w.machine.invpcid_context(cpu, slot)
                    state.ctx_gen[cpu][slot] = state.tlb_gen[mm]
