"""A policy: a need-flush rule, its application, and the fault handler around it."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized.strategy import GatherFlush

NeedFlush = Callable[[int, int], bool]
"""A pure function that returns whether replacing the first entry by the second needs a TLB flush."""


@dataclass(frozen=True)
class Fault:
    """A historical or typical bug put back, and the rule that must catch it.

    `rule`: C1 to C7, or "cost" for a fault that only masks or wastes.
    `origin`: the commit or message, or "typical".
    `year`: 0 for a typical fault.
    `mechanism`: what goes wrong; the part before the first colon is the summary.
    `shortest`: the length in records and pauses of the shortest scenario that breaks the rule, by exhaustive search
    over the operations of the fault's stories (`python -m bench.shortest search`).
    `shortest_open_from`: the first length at which the search did not end, so that `shortest` is an upper bound; 0 if
    `shortest` is exact.
    """

    rule: str
    origin: str
    year: int
    mechanism: str
    shortest: int
    shortest_open_from: int = 0

    @property
    def entry(self) -> str:
        """The entry of the catalogue of historical bugs (docs/linux-tlb.md part E) that this fault puts back, or ""."""
        cited = re.search(r"\bE\.\d entry (\d+)", self.origin)
        return cited[1] if cited else ""


@dataclass(frozen=True)
class Policy:
    """The object of a test. Only `name` and `needs_flush` are mandatory.

    `name`: one word.
    `needs_flush`: the rule.
    `summary`: one line.
    `source`: the origin of the rule.
    `huge_needs_flush`: the rule for a huge PMD, `needs_flush` if None.
    `huge_inline`: a huge PMD is flushed at once, under its lock, without the rule; else it is recorded in the gather if
    its rule says so.
    `handler`: the page-fault handler of the kernel, under which the policy must be correct.
    `report_spurious`: the handler delivers a protection fault that is already healed.
    `soft_dirty_check`: mprotect leaves a page write-protected if clear_refs waits for its first store.
    `strategy`: batching and delivery; a subclass of GatherFlush replaces single decisions.
    `trusts`: the assumptions outside the rule, as a paragraph.
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

    def flushes(self, old: int, new: int, *, huge: bool) -> bool:
        """Return whether the rule flushes for the change; a huge PMD that is flushed inline counts as flushed."""
        if not huge:
            return self.needs_flush(old, new)
        if self.huge_inline:
            return True
        return (self.huge_needs_flush or self.needs_flush)(old, new)

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
