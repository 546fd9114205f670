"""The steps of a CPU that runs a kernel's own text: the begin of a call, and what follows each of its stops."""

from collections.abc import Callable
from typing import Any, Final

from shootdown.kernel.library import (
    ACK,
    BACK,
    DONE,
    EVERY_STOP,
    FLUSH_RANGE,
    GRACE,
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
from shootdown.mm.step import MEANINGS, POINT_BITS, push, step
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
        push(w, cpu, (_CODES[stop], result >> 8 & 0xFF))
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


def _stopped(stop: int) -> Callable[[World, int, Step], bool]:
    def goes_on(w: World, cpu: int, s: Step) -> bool:
        """Let the text go on after a stop."""
        state: KernelState = w.flush_state
        if stop == ACK and s[1] != cpu and w.irqs_off[s[1]]:
            return True
        if stop == GRACE and any(off for c, off in enumerate(w.irqs_off) if c != cpu):
            return True
        before = state.key() if stop == SPIN else ()
        state.change()
        result: int = state.library.resume(cpu, stops_of(w))
        if stop == SPIN and result == SPIN and state.key() == before:
            # What it waits for has not come. A text that counts how often it has looked has gone on.
            return True
        after(w, cpu, result)
        return False

    return goes_on


_CODES: Final[list[Any]] = [
    step(MEANINGS[point].replace("`", "") if point else "", point, in_c=True)(_stopped(stop))
    for stop, point in enumerate(STOPS)
]
"""For each stop, the code of the step that goes on after it."""
GOES_ON: Final = frozenset(_CODES)


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
