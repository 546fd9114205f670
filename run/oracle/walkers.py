"""Lockless walkers: the page table that each reads, and the references that it may keep (C3, C4)."""

from mypy_extensions import mypyc_attr

from shootdown.machine.entry import READ
from shootdown.machine.geometry import PAGES
from shootdown.machine.tlb_entry import GENERATION_AT
from shootdown.mm.state import MMS
from shootdown.reference.objects import NO_OBJECT
from shootdown.reference.version import PLACE, PLACE_AT
from shootdown.run.oracle.cleaning import CleaningJudge
from shootdown.run.oracle.violation import Violation


@mypyc_attr(allow_interpreted_subclasses=True)
class WalkerJudge(CleaningJudge):
    """The judge of pins, and of reads through a pin."""

    def walk_began(self, cpu: int, table: int) -> None:
        self.walks[cpu] = table

    def walk_ended(self, cpu: int) -> None:
        del self.walks[cpu]
        self.grabs.pop(cpu, None)

    def grabbed(self, cpu: int, frame: int) -> None:
        self.grabs[cpu] = self._is_mapped(cpu, frame)

    def _is_mapped(self, cpu: int, frame: int) -> bool:
        """Return whether the CPU's address space maps the current incarnation of the frame at any page.

        Any page counts, because mremap moves a page without a check for references.
        """
        first = self.world.task_mm[cpu] * PAGES
        place = (self.generation[frame] << GENERATION_AT | frame) << PLACE_AT
        newest = [versions[-1] for versions in self.versions[first : first + PAGES]]
        return any(version and version & PLACE == place for version in newest)

    def pinned(self, cpu: int, page: int, frame: int) -> None:
        """Check C4 for an unmapping that moves a page: a reference that it cannot have seen is not kept."""
        if not self.grabs[cpu] and not self._is_mapped(cpu, frame):
            slot = self.world.task_mm[cpu] * PAGES + page
            raise Violation("pinned-behind-unmapping", slot, cpu, READ)

    def pin_read(self, cpu: int, page: int, frame: int, value: int) -> None:
        """Judge a read like a load by a program: the frame lives, and shows the object's content while the object is in
        it.
        """
        mm = self.world.task_mm[cpu]
        if self.world.free_frames >> frame & 1:
            raise Violation("access-to-freed-frame", mm * PAGES + page, cpu, READ)
        owner = self.objects[frame * MMS + mm]
        if owner != NO_OBJECT and self.home[owner] == frame and self.shadow[owner] != value:
            raise Violation("lost-store", mm * PAGES + page, cpu, READ)
