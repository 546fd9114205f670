"""The optimized flush strategy: mmu_gather with a need-flush rule, over x86's generations.

Each part of mm.flush.FlushStrategy is in the file of its name: contexts, immediate, deferral, gathers, page_tables,
huge_pages and feedback; delivery has the decisions that the steps of a flush use.
Each part extends another one, although not all of them build on each other, because a compiled class has one base. With
mypyc's traits it could have more, but a compiled caller does not see the overrides of an interpreted subclass in an
inherited trait (mypyc 2.4), so a seeded fault would have no effect there.
A seeded fault is a subclass of GatherFlush that replaces one decision, of any part.
"""

from collections.abc import Callable

from mypy_extensions import mypyc_attr

from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized.feedback import FeedbackStrategy
from shootdown.optimized.state import X86State


@mypyc_attr(allow_interpreted_subclasses=True)
class GatherFlush(FeedbackStrategy):
    """The strategy mm.flush.FlushStrategy, which says what each method gets and must do."""

    def __init__(
        self,
        needs_flush: Callable[[int, int], bool],
        huge_needs_flush: Callable[[int, int], bool],
        *,
        inline: bool,
        handler: FaultHandler = FaultHandler.LINUX,
        report_spurious: bool,
        soft_dirty_check: bool = True,
    ) -> None:
        self.needs_flush = needs_flush
        self.huge_needs_flush = huge_needs_flush
        self.inline = inline
        self.handler = handler
        self.report_spurious = report_spurious
        self.soft_dirty_check = soft_dirty_check

    def new_state(self, cpus: int, asids: int, batch: int) -> X86State:
        return X86State(cpus, asids, batch)
