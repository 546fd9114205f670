"""The steps after the flush of a gather: what it has queued is freed, and nothing is pending any more."""

from shootdown.mm.frames import free_table, put_page
from shootdown.mm.state import Step
from shootdown.mm.step import step
from shootdown.mm.world import World
from shootdown.optimized.state import Gather, X86State


def free_of(gather: Gather) -> list[Step]:
    """Return the step that frees what the gather has queued; none when nothing is."""
    return [(gather_free,)] if gather.pages or gather.tables else []


@step("free the gather's batch", "free")
def gather_free(w: World, cpu: int, _s: Step) -> bool:
    """Tables wait for lockless walkers, and the pages of the same batch with them (mm.lockless)."""
    state: X86State = w.flush_state
    gather = state.gathers[cpu]
    assert gather is not None, "only steps of an open gather free its batch"
    if w.walkers and gather.tables:
        return True
    for frame in gather.pages:
        put_page(w, frame)
    for index, frame in gather.tables:
        free_table(w, gather.mm, index, frame)
    gather.pages.clear()
    gather.tables.clear()
    return False


@step("dec_tlb_flush_pending", "return")
def gather_end(w: World, cpu: int, _s: Step) -> None:
    state: X86State = w.flush_state
    gather = state.gathers[cpu]
    assert gather is not None, "only steps of an open gather close it"
    state.pending[gather.mm] -= 1
    state.gathers[cpu] = None
