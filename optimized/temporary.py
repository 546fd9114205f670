"""use_temporary_mm and unuse_temporary_mm: into an address space of the kernel and back, with interrupts disabled.

A lazy CPU leaves the space that it has borrowed for good, because meanwhile it would not learn of the end of that space
(abee7c494d8c).
The temporary space takes the next slot, which is flushed, and leaves it without an owner; Linux gives it a context
whose generation every poke raises, so that its slot is flushed as well.
"""

from typing import Any, Protocol

from shootdown.machine.x86 import NO_ROOT
from shootdown.mm.mmdrop import mmdrop_gone
from shootdown.mm.state import INIT_MM, POKING_MM, Step
from shootdown.mm.step import push, step
from shootdown.mm.text_poke import poking_root
from shootdown.mm.world import World
from shootdown.optimized.state import X86State
from shootdown.optimized.switch import push_switch


class Temporary(Protocol):
    """The decisions of a strategy of this model around a temporary address space."""

    def way_back(self, w: World, cpu: int) -> Step:
        """Leave the space that the CPU has loaded, and return the step that ends the temporary address space."""
        ...

    def load_temporary(self, w: World, cpu: int) -> None:
        """Load the temporary address space."""
        ...


def back_from(w: World, cpu: int) -> Step:
    """Return the step after which the CPU has its own address space loaded again; a borrowed one is not loaded."""
    if w.lazy[cpu] or w.loaded_mm[cpu] < 0:
        return (stay_in_init_mm,)
    return (unuse_temporary_mm, w.loaded_mm[cpu])


def load_in_next_slot(w: World, cpu: int) -> None:
    """Load the temporary address space under the next ASID, without an owner."""
    state: X86State = w.flush_state
    slot = state.next_asid[cpu]
    state.next_asid[cpu] = (slot + 1) % state.asids
    state.ctx_mm[cpu][slot] = -1
    state.asid[cpu] = slot
    w.loaded_mm[cpu] = POKING_MM
    w.machine.load_cr3(cpu, poking_root(w), slot, noflush=False)


@step("use_temporary_mm", "switch")
def use_temporary_mm(w: World, cpu: int, s: Step) -> None:
    """Load the temporary address space, and push the step `inside` and the way back."""
    inside = s[1:]
    # Any, because a cast is a call.
    strategy: Any = w.flush
    temporary: Temporary = strategy
    w.irqs_off[cpu] = True
    back = temporary.way_back(w, cpu)
    temporary.load_temporary(w, cpu)
    push(w, cpu, inside, back)
    mmdrop_gone(w, cpu)


@step("unuse_temporary_mm", "switch")
def unuse_temporary_mm(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    push_switch(w, cpu, mm)


@step("unuse_temporary_mm: init_mm", "switch")
def stay_in_init_mm(w: World, cpu: int, _s: Step) -> None:
    w.loaded_mm[cpu] = INIT_MM
    w.machine.load_cr3(cpu, NO_ROOT, w.machine.pcid[cpu], noflush=True)
    w.irqs_off[cpu] = False
