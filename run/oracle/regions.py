"""Locks that are held, and flushes that are skipped; the history keeps the regions and entries themselves."""

from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.machine.geometry import PAGES
from shootdown.mm.world import World
from shootdown.reference.history import SLOTS
from shootdown.run.oracle.calls import CallJudge
from shootdown.run.oracle.violation import Violation

NO_SKIP: Final = (-1, 0, 0)


@mypyc_attr(allow_interpreted_subclasses=True)
class RegionJudge(CallJudge):
    """The judge of locks: an entry changes under its lock.

    `skips`: by slot, the last change without a flush: the operation's number, the old entry and the new one.
    """

    skips: list[tuple[int, int, int]]

    def attach(self, w: World) -> None:
        super().attach(w)
        self.skips = [NO_SKIP] * SLOTS

    def lock_missing(self, cpu: int, mm: int, page: int) -> None:
        raise Violation("lock-not-held", mm * PAGES + page, cpu, 0)

    def skipped(self, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        self.skips[mm * PAGES + page] = (self.world.op[cpu], old, new)
