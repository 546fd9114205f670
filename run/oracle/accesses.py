"""The accesses of a program: the values that it loads and stores, and its faults (C1 to C5)."""

from mypy_extensions import mypyc_attr

from shootdown.machine.entry import EXEC, READ, SOFT_DIRTY, WRITE
from shootdown.machine.geometry import FRAME_MASK, PAGES
from shootdown.machine.pkru import denies
from shootdown.machine.tlb_entry import GENERATION_AT
from shootdown.mm.observer import KEY_SHIFT
from shootdown.mm.page_cache import is_changing, to_be_written
from shootdown.mm.state import VM_SOFTDIRTY
from shootdown.mm.tables import leaf_of
from shootdown.reference.version import OBJECT_AT, PLACE_AT, SEEN, key_refuses
from shootdown.run.oracle.contents import ContentJudge
from shootdown.run.oracle.violation import Violation


@mypyc_attr(allow_interpreted_subclasses=True)
class AccessJudge(ContentJudge):
    """The judge of each access and each fault.

    If an outcome is legal but differs from that of the reference itself, it is adopted: the store reaches the shadow,
    so the rest of the run is judged by what the program really saw (correctness.md section 4).
    """

    def access(self, cpu: int, page: int, kind: int, incarnation: int, value: int) -> None:
        slot = self.world.task_mm[cpu] * PAGES + page
        version = self.versions[slot][-1]
        frame = incarnation & FRAME_MASK
        if self.generation[frame] != incarnation >> GENERATION_AT:
            raise Violation("access-to-freed-frame", slot, cpu, kind)
        if version & SEEN != incarnation << PLACE_AT or not version & kind:
            version = self.explain(slot, kind, incarnation, self.world.machine.pkru[cpu])
            if version < 0:
                raise Violation("stale-grant", slot, cpu, kind)
        owner = version >> OBJECT_AT
        if kind == WRITE:
            if self.home[owner] != frame:
                raise Violation("store-to-abandoned-frame", slot, cpu, kind)
            if self.tracked[slot // PAGES] and version == self.versions[slot][-1]:
                self._refuse_untracked(slot // PAGES, page, cpu)
            self.store(version, value)
            if self.world.file_frames >> frame & 1:
                self._refuse_unseen(frame, slot, cpu)
        elif self.shadow[owner] != value:
            raise Violation("lost-store", slot, cpu, kind)
        reason = self.contract.access(cpu, slot, kind, value)
        if reason:
            raise Violation(reason, slot, cpu, kind)

    def _refuse_untracked(self, mm: int, page: int, cpu: int) -> None:
        """Check C5 for soft-dirty tracking: a store after clear_refs leaves a mark, or its region counts as written.

        A store without a region is legal: munmap has removed the region and clears the entry next, and no query for
        written pages covers this page.
        """
        w = self.world
        vma = w.vma[mm][page]
        if vma and not (leaf_of(w, mm, page) & SOFT_DIRTY or vma & VM_SOFTDIRTY):
            raise Violation("write-untracked", mm * PAGES + page, cpu, WRITE)

    def _refuse_unseen(self, frame: int, slot: int, cpu: int) -> None:
        """Check C5 for the file: the stored value reaches the backing store, as the folio is dirty or being written.

        A CPU that holds the PTL may have taken the dirty entry out of the table for a moment.
        """
        w = self.world
        unseen = not (self.being_cleaned >> frame & 1 or to_be_written(w, frame))
        if unseen and not is_changing(w, frame):
            raise Violation("store-not-written-back", slot, cpu, WRITE)

    def denied(self, cpu: int, page: int, kind: int, rights: int) -> None:
        slot = self.world.task_mm[cpu] * PAGES + page
        region = self.region_rights[slot]
        if region >= 0 and region & kind:
            pkru = self.world.machine.pkru[cpu]
            forbidden = denies(pkru, region >> KEY_SHIFT, kind) or self.explained >> cpu & 1
            if not forbidden:
                raise Violation("denied-though-allowed", slot, cpu, kind)
        if region != rights:
            raise Violation("denied-though-allowed", slot, cpu, kind)
        reason = self.contract.denied(cpu, slot, kind, rights)
        if reason:
            raise Violation(reason, slot, cpu, kind)

    def key_denied(self, cpu: int, page: int, kind: int) -> None:
        """Record whether the fault is explained, at this instant.

        The handler may run much later, when the operation that changed the key is over and forgotten.
        """
        slot = self.world.task_mm[cpu] * PAGES + page
        pkru = self.world.machine.pkru[cpu]
        # A change of a key takes loads away from older translations, so their floor bounds those that may be used.
        for version in self.versions[slot][self.floor[READ][slot] :]:
            if key_refuses(version, kind, pkru):
                self.explained |= 1 << cpu
        self.contract.hardware_denied(cpu, slot, kind)

    def fetch_denied(self, cpu: int, page: int) -> None:
        """Record as key_denied does: Linux's handler heals no such fault, even if it runs late."""
        slot = self.world.task_mm[cpu] * PAGES + page
        if self.may_deny_fetch(slot):
            self.explained |= 1 << cpu
        self.contract.hardware_denied(cpu, slot, EXEC)

    def trapped(self, cpu: int, page: int) -> None:
        slot = self.world.task_mm[cpu] * PAGES + page
        if not self.armed[slot]:
            raise Violation("trapped-without-cause", slot, cpu, WRITE)
        reason = self.contract.trapped(slot)
        if reason:
            raise Violation(reason, slot, cpu, WRITE)

    def unhealed(self, cpu: int, page: int, kind: int) -> None:
        raise Violation("fault-never-heals", self.world.task_mm[cpu] * PAGES + page, cpu, kind)
