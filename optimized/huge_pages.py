"""Leaves of 2 MiB, which are flushed inside the PMD lock, or recorded in the gather if their rule says so."""

from collections.abc import Callable

from mypy_extensions import mypyc_attr

from shootdown.machine.geometry import FANOUT
from shootdown.mm.thp import mkinvalid
from shootdown.mm.world import World
from shootdown.optimized.page_tables import PageTableStrategy


@mypyc_attr(allow_interpreted_subclasses=True)
class HugePageStrategy(PageTableStrategy):
    """The part mm.flush.HugePages."""

    huge_needs_flush: Callable[[int, int], bool]
    """The rule for a huge PMD."""
    inline: bool
    """Whether a huge PMD is always flushed inside the PMD lock, without the rule."""

    def huge_inline(self) -> bool:
        return self.inline

    def huge_invalid(self, pmd: int) -> int:
        """Return an entry that is not empty: a parallel MADV_DONTNEED takes an empty one for a hole (ced108037c2a)."""
        return mkinvalid(pmd)

    def huge_changed(self, w: World, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        if self.inline:
            return
        if self.huge_needs_flush(old, new):
            self.record(w, cpu, page, FANOUT)
        else:
            for i in range(FANOUT):
                w.observer.skipped(cpu, mm, page + i, old, new)

    def replacing_huge(self, w: World, cpu: int, mm: int, index: int) -> None:
        """Do nothing: no TLB holds the entry, and an empty one in between is taken for a hole (d7c3393413fe)."""

    def asks_unlocked(self) -> bool:
        return False
