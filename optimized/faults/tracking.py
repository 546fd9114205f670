"""Faults in soft-dirty tracking: stores that clear_refs should see and does not."""

from collections.abc import Callable

from mm.world import World
from optimized.strategy import GatherFlush


class ClearRefsUnflushed(GatherFlush):
    """clear_refs records no range, and an empty gather flushes nothing (before 912efa17e512)."""

    def soft_dirty_cleared(self, w: World, cpu: int, mm: int) -> None:
        """Leave it to the gather, which is empty."""


class SoftDirtyIgnored(GatherFlush):
    """mprotect gives RW without asking whether the first store must be seen (before 76aefad628aa)."""

    def __init__(
        self,
        needs_flush: Callable[[int, int], bool],
        huge_needs_flush: Callable[[int, int], bool],
        *,
        inline: bool,
        exec_check: bool,
        report_spurious: bool,
    ) -> None:
        super().__init__(
            needs_flush,
            huge_needs_flush,
            inline=inline,
            exec_check=exec_check,
            report_spurious=report_spurious,
        )
        self.soft_dirty_check = False
