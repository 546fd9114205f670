"""The state of the strategy that campaigns and reports read; nothing here changes a run."""

from typing import Any

from mypy_extensions import mypyc_attr

from shootdown.mm.state import Step
from shootdown.mm.step import NAMES, points_of_models
from shootdown.mm.world import FlushStrategy, World
from shootdown.optimized.huge_pages import HugePageStrategy
from shootdown.optimized.state import FIRST_GLOBAL, X86State


@mypyc_attr(allow_interpreted_subclasses=True)
class FeedbackStrategy(HugePageStrategy):
    """The part mm.flush.Feedback."""

    def tag_owner(self, w: World, cpu: int, pcid: int) -> int:
        """Return the owner of the PCID; an address space with a global ASID is not loaded under another one again."""
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

    def points(self) -> tuple[str, ...]:
        return points_of_models()

    def variable(self, w: World, cpu: int) -> int:
        """Return whether the CPU's gather has recorded anything, combined with the deferred work."""
        state: X86State = w.flush_state
        mm = w.task_mm[cpu]
        gather = state.gathers[cpu]
        recorded = 0 if gather is None else 2 if gather.end else 1
        deferred = bool(state.deferred[cpu]) + 2 * (state.batched[mm] != state.batched_flushed[mm])
        return recorded * 4 + deferred

    def watched(self) -> FlushStrategy:
        strategy: Any = self
        same: FlushStrategy = strategy
        return same

    def step_name(self, w: World, cpu: int, s: Step) -> str:
        return NAMES[s[0]]

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
