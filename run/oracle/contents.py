"""The content that a page is about to show: not one that it has lost, and in a copy every store (C1, C4)."""

from mypy_extensions import mypyc_attr

from shootdown.machine.entry import READ, WRITE
from shootdown.machine.geometry import PAGES
from shootdown.mm.state import MMS
from shootdown.reference.objects import NOWHERE
from shootdown.run.oracle.regions import RegionJudge
from shootdown.run.oracle.violation import Violation


@mypyc_attr(allow_interpreted_subclasses=True)
class ContentJudge(RegionJudge):
    """The judge of the content that a page begins to show; Objects keeps the frame of each content."""

    def appears(self, slot: int, owner: int, frame: int) -> None:
        if self.dropped and self.dropped.get(slot) == owner:
            raise Violation("dropped-page-comes-back", slot, -1, READ)
        came = self.home[owner] not in (frame, NOWHERE)
        if came and self.memory[frame << 2] != self.shadow[owner]:
            raise Violation("copy-missed-a-store", slot, -1, WRITE)

    def merged(self, mm: int, page: int, old: int, new: int) -> None:
        """Check C4: the page still has the content that was compared."""
        if self.shadow[self.objects[old * MMS + mm]] != self.memory[new << 2]:
            raise Violation("copy-missed-a-store", mm * PAGES + page, -1, WRITE)
        super().merged(mm, page, old, new)
