"""The steps of a CPU that runs a kernel's own text: the begin of a call, and what follows each of its stops."""

from typing import Final

from shootdown.kernel.library import (
    ACK,
    BACK,
    DONE,
    EVERY_STOP,
    FLUSH_RANGE,
    REMOTE,
    SPIN,
    STOPS,
    SWITCH,
    TEMPORARY,
    WATCHED,
)
from shootdown.kernel.notes import carry_out
from shootdown.kernel.state import KernelState
from shootdown.machine.geometry import PAGES
from shootdown.mm.mmdrop import mmdrop_gone
from shootdown.mm.state import Step
from shootdown.mm.step import EVERY_STOP as EVERY_POINT
from shootdown.mm.step import POINT_BITS, POINTS, push, step
from shootdown.mm.world import World

_STOPS_OF: Final[dict[int, int]] = {EVERY_POINT: EVERY_STOP, 0: 0} | {
    bit: sum(1 << at for at, name in enumerate(STOPS) if name == point)
    for point, bit in POINT_BITS.items()
}
"""The stops of the text for a value of State.stops."""


def stops_of(w: World) -> int:
    """Return the stops at which the CPU that runs may be paused."""
    return _STOPS_OF[w.stops] | WATCHED if w.watch else _STOPS_OF[w.stops]


def after(w: World, cpu: int, result: int) -> None:
    """Carry out what a call on the CPU has asked for, and push the step that goes on after its stop.

    `result`: what kernel_resume returns.
    """
    state: KernelState = w.flush_state
    stop = result & 0xFF
    if stop != DONE:
        push(w, cpu, step_after(stop, result >> 8 & 0xFF))
    if result >> 16:
        carry_out(w, state, result >> 16)


@step("call into the text", in_c=True)
def call(w: World, cpu: int, s: Step) -> None:
    """Begin a call of a function that takes the CPU's gather or batch, or nothing."""
    _, function = s
    state: KernelState = w.flush_state
    state.change()
    after(w, cpu, state.library.call(cpu, stops_of(w), function, 0, 0, 0, 0))


@step("flush_tlb_mm_range", in_c=True)
def call_flush(w: World, cpu: int, s: Step) -> None:
    """Begin a flush of `count` pages; PAGES of them are everything (TLB_FLUSH_ALL)."""
    _, mm, first, count, freed = s
    state: KernelState = w.flush_state
    state.change()
    start, end = (0, -1) if count >= PAGES else (first << 12, first + count << 12)
    after(w, cpu, state.library.call(cpu, stops_of(w), FLUSH_RANGE, mm, start, end, freed))


@step("switch_mm_irqs_off", "switch", in_c=True)
def call_switch(w: World, cpu: int, s: Step) -> None:
    _, mm = s
    state: KernelState = w.flush_state
    state.change()
    after(w, cpu, state.library.call(cpu, stops_of(w), SWITCH, mm, w.root[mm], 0, 0))


@step("finish_task_switch", in_c=True)
def switched(w: World, cpu: int, _s: Step) -> None:
    mmdrop_gone(w, cpu)


def _go_on(w: World, cpu: int) -> None:
    """Let the text go on after a stop."""
    state: KernelState = w.flush_state
    state.change()
    after(w, cpu, state.library.resume(cpu, stops_of(w)))


@step("the text reads a generation", "generation", in_c=True)
def after_generation(w: World, cpu: int, _s: Step) -> None:
    _go_on(w, cpu)


@step("the text raises a generation", "flush", in_c=True)
def after_flush(w: World, cpu: int, _s: Step) -> None:
    _go_on(w, cpu)


@step("the text reads or changes a CPU mask", "mask", in_c=True)
def after_mask(w: World, cpu: int, _s: Step) -> None:
    _go_on(w, cpu)


@step("the text loaded_mm or is_lazy", "loaded", in_c=True)
def after_loaded(w: World, cpu: int, _s: Step) -> None:
    _go_on(w, cpu)


@step("the text writes CR3", "cr3", in_c=True)
def after_cr3(w: World, cpu: int, _s: Step) -> None:
    _go_on(w, cpu)


@step("the text invalidates", "invalidate", in_c=True)
def after_invalidate(w: World, cpu: int, _s: Step) -> None:
    _go_on(w, cpu)


@step("the text tlb_flush_pending", "pending", in_c=True)
def after_pending(w: World, cpu: int, _s: Step) -> None:
    _go_on(w, cpu)


@step("the text frees pages or tables", "free", in_c=True)
def after_free(w: World, cpu: int, _s: Step) -> None:
    _go_on(w, cpu)


@step("the text reads or writes other data of a space", "shared", in_c=True)
def after_shared(w: World, cpu: int, _s: Step) -> None:
    _go_on(w, cpu)


@step("the text reads another CPU's data", "remote", takes="cpu", in_c=True)
def after_remote(w: World, cpu: int, s: Step) -> None:
    _, _target_cpu = s
    _go_on(w, cpu)


@step("a CPU handles the interrupt", "ack", takes="cpu", in_c=True)
def after_ack(w: World, cpu: int, s: Step) -> bool:
    """Let the CPU handle the interrupt, when it has interrupts enabled."""
    _, target_cpu = s
    if target_cpu != cpu and w.irqs_off[target_cpu]:
        return True
    _go_on(w, cpu)
    return False


@step("the text waits for a grace period", "wait", in_c=True)
def after_grace(w: World, cpu: int, _s: Step) -> bool:
    """Go on when no other CPU has interrupts disabled."""
    if any(off for other, off in enumerate(w.irqs_off) if other != cpu):
        return True
    _go_on(w, cpu)
    return False


@step("the text waits in a loop", "wait", in_c=True)
def after_spin(w: World, cpu: int, _s: Step) -> bool:
    """Go on when what the text waits for has come.

    Each look would be a step otherwise, and a CPU that is blocked lets the first other one go on that can: the one that
    looks and looks, and not the one for which it waits. A text that counts how often it has looked does go on.
    """
    state: KernelState = w.flush_state
    before = state.key()
    state.change()
    library = state.library
    saved = library.save()
    result: int = library.resume(cpu, 0)
    if result == SPIN and state.key() == before:
        return True
    library.load(saved)
    _go_on(w, cpu)
    return False


def step_after(stop: int, target_cpu: int) -> Step:
    """Return the step that goes on after a stop of the text; two of the stops are about a CPU."""
    if stop == REMOTE:
        return (after_remote, target_cpu)
    if stop == ACK:
        return (after_ack, target_cpu)
    return _PLAIN[stop]


_PLAIN: Final[tuple[Step, ...]] = (
    (),
    (after_generation,),
    (after_flush,),
    (after_mask,),
    (),
    (after_loaded,),
    (after_cr3,),
    (),
    (after_invalidate,),
    (after_pending,),
    (after_free,),
    (after_shared,),
    (after_grace,),
    (after_spin,),
)
GOES_ON: Final = tuple(step_after(stop, 0)[0] for stop in range(1, len(STOPS)))
"""The codes of these steps, in the order of the stops."""
if [POINTS[code] for code in GOES_ON] != list(STOPS[1:]):
    _message = "the steps after the stops of the text are not in the order of the stops"
    raise ValueError(_message)


@step("tlb_finish_mmu done", in_c=True)
def gather_closed(w: World, cpu: int, _s: Step) -> None:
    state: KernelState = w.flush_state
    state.gather_mm[cpu] = -1


@step("flush_tlb_batched_pending done", "check", in_c=True)
def batched_done(w: World, _cpu: int, s: Step) -> None:
    """Record what was flushed: the work that was pending before the flush, not work that came later."""
    _, mm, batched = s
    state: KernelState = w.flush_state
    state.batched_flushed[mm] = max(state.batched_flushed[mm], batched)


@step("use_temporary_mm", "switch", in_c=True)
def call_temporary(w: World, cpu: int, s: Step) -> None:
    """Enter the temporary address space, with interrupts disabled until the way back is over."""
    inside = s[1:]
    state: KernelState = w.flush_state
    state.change()
    push(w, cpu, inside, (call, BACK), (switched,))
    after(w, cpu, state.library.call(cpu, stops_of(w), TEMPORARY, 0, 0, 0, 0))
