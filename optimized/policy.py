"""A policy: a need-flush rule, how it is applied, and what the fault handler around it does."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized.strategy import GatherFlush

NeedFlush = Callable[[int, int], bool]
"""Returns whether replacing the first entry by the second needs a TLB flush; pure."""


@dataclass(frozen=True)
class Fault:
    """A historical or typical bug put back, and the rule that must catch it.

    `rule` is C1 to C7, or "cost" for a fault that only masks or wastes.
    `shortest` is the length in records and pauses of the shortest scenario that breaks the rule, by exhaustive search
    over the operations of the fault's stories (`python -m bench.shortest search`).
    `shortest_open_from`: the length from which on the search has not come to an end, so that `shortest` is an upper
    bound; 0 where it is exact.
    """

    rule: str
    origin: str
    year: int
    mechanism: str
    shortest: int
    shortest_open_from: int = 0

    @property
    def entry(self) -> str:
        """The entry of the catalogue of historical bugs (docs/linux-tlb.md part E) that this one puts back, or ""."""
        cited = re.search(r"\bE\.\d entry (\d+)", self.origin)
        return cited[1] if cited else ""


@dataclass(frozen=True)
class Policy:
    """What is to be tested. Only `name` and `needs_flush` are mandatory.

    `huge_needs_flush`: the rule for a huge PMD, `needs_flush` when None.
    `huge_inline`: a huge PMD is flushed at once, under its lock, whatever the rule says; else it is recorded in the
    gather if its rule says so.
    `handler`: the page-fault handler that the policy lives with, and under which it is to be right.
    `soft_dirty_check`: mprotect leaves a page write-protected whose first store clear_refs waits for.
    `strategy`: batching and delivery; a subclass of GatherFlush replaces single decisions.
    `trusts`: what must hold outside the rule for it to be right, as a paragraph.
    `fault`: set for a seeded fault.
    """

    name: str
    needs_flush: NeedFlush
    summary: str = ""
    source: str = ""
    huge_needs_flush: NeedFlush | None = None
    huge_inline: bool = True
    handler: FaultHandler = FaultHandler.LINUX
    report_spurious: bool = False
    soft_dirty_check: bool = True
    strategy: type[GatherFlush] = GatherFlush
    trusts: str = ""
    fault: Fault | None = None

    def make(self) -> GatherFlush:
        """Return the flush strategy that this policy describes."""
        return self.strategy(
            self.needs_flush,
            self.huge_needs_flush or self.needs_flush,
            inline=self.huge_inline,
            handler=FaultHandler(self.handler),
            report_spurious=self.report_spurious,
            soft_dirty_check=self.soft_dirty_check,
        )
