"""Frames that are copied or dropped: no store to them is lost (C4, C5)."""

from mypy_extensions import mypyc_attr

from shootdown.machine.entry import DIRTY, RW, WRITE
from shootdown.machine.geometry import PAGES
from shootdown.mm.state import MMS
from shootdown.reference.objects import NO_OBJECT
from shootdown.run.oracle.frames import FrameJudge
from shootdown.run.oracle.violation import Violation


@mypyc_attr(allow_interpreted_subclasses=True)
class CleaningJudge(FrameJudge):
    """The judge of copies and drops, by the entries that can still write and by the stores."""

    def copying(self, frame: int) -> None:
        """Check C4 in its white-box form: no TLB can still write to a frame while it is copied.

        A clean entry is no danger: a store through it walks again, and traps because the entry is gone (mm/rmap.c
        relies on it). It is a danger if the machine does not walk again.
        """
        writable = RW if self.world.machine.blind_dirty else RW | DIRTY
        self._refuse_holders(frame, writable, "copied-under-a-writer")

    def discarded(self, mm: int, page: int, frame: int) -> None:
        owner = self.objects[frame * MMS + mm]
        if owner != NO_OBJECT and not self.dispensable(owner):
            raise Violation("dirty-lost", mm * PAGES + page, -1, WRITE)
