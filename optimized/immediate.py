"""Flushes that are done at once, of a range or of one page; a store to an entry alone causes none."""

from mypy_extensions import mypyc_attr

from shootdown.mm.step import push
from shootdown.mm.world import World
from shootdown.optimized.contexts import ContextStrategy
from shootdown.optimized.shootdown import flush_send


@mypyc_attr(allow_interpreted_subclasses=True)
class ImmediateStrategy(ContextStrategy):
    """The part mm.flush.Immediate."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """Do nothing: a store alone invalidates nothing."""

    def flush_range(self, w: World, cpu: int, mm: int, first: int, count: int) -> None:
        push(w, cpu, (flush_send, mm, first, count, int(count > 1)))

    def spurious_fault(self, w: World, cpu: int, mm: int) -> None:
        """Do nothing: the fault has dropped the entry that caused it, and no other stale entry denies the access."""
