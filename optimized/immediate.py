"""Flushes at once, of a range or of one page; a store to an entry causes none by itself."""

from mypy_extensions import mypyc_attr

from shootdown.mm.step import push
from shootdown.mm.world import World
from shootdown.optimized.contexts import ContextStrategy
from shootdown.optimized.shootdown import flush_send


@mypyc_attr(allow_interpreted_subclasses=True)
class ImmediateStrategy(ContextStrategy):
    """Answers mm.flush.Immediate."""

    def pte_stored(self, w: World, cpu: int, mm: int, page: int) -> None:
        """A store by itself invalidates nothing."""

    def flush_range(self, w: World, cpu: int, mm: int, first: int, count: int) -> None:
        push(w, cpu, (flush_send, mm, first, count, int(count > 1)))

    def spurious_fault(self, w: World, cpu: int, mm: int) -> None:
        """The fault has dropped the entry that caused it, and nothing else is stale that denies."""
