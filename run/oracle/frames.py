"""Frames and page tables that are about to be free, which no processor may reach any more (C3)."""

from mypy_extensions import mypyc_attr

from shootdown.machine.caches import FETCH, GLOBAL_TAG, HUGE_KEY, TAG_AT, TAG_MASK, UPPER_AT
from shootdown.machine.entry import WRITE
from shootdown.machine.geometry import FANOUT, PAGE_MASK, PAGES, frame_of
from shootdown.machine.tlb_entry import GENERATION_AT, INCARNATION_AT
from shootdown.run.oracle.accesses import AccessJudge
from shootdown.run.oracle.violation import Violation


@mypyc_attr(allow_interpreted_subclasses=True)
class FrameJudge(AccessJudge):
    """The judge of frees, by the entries of the TLBs and paging-structure caches."""

    def freed(self, frame: int) -> None:
        """Check C3 in its white-box form: no TLB that can still translate in its address space holds the frame."""
        self._refuse_holders(frame, 0, "freed-frame-still-cached")
        self.forget_frame(frame)

    def _refuse_holders(self, frame: int, flags: int, reason: str) -> None:
        """Raise Violation if a loaded translation to the frame has all of the flags; one for fetches has none.

        A lazy CPU, and a CPU inside switch_mm with interrupts disabled, makes no user access, and compares generations
        before it makes one again, so its entries do not count; for page tables they count. A lockless walker, which has
        interrupts disabled as well, does not compare.
        (A flush that leaves a lazy CPU out may come between its leaving of lazy mode and its comparison.)
        """
        w = self.world
        machine = w.machine
        wanted = self.generation[frame] << GENERATION_AT | frame
        block = wanted & ~3
        for cpu, entries in enumerate(machine.tlb):
            switching = w.irqs_off[cpu] and not w.walkers >> cpu & 1
            if w.lazy[cpu] or switching or machine.cr3[cpu] < 0:
                continue
            tag = machine.pcid[cpu]
            for key, entry in entries.items():
                held = block if key & HUGE_KEY else wanted
                loaded = key >> TAG_AT & TAG_MASK in (tag, GLOBAL_TAG) and not (
                    flags and key & FETCH
                )
                if loaded and entry >> INCARNATION_AT == held and entry & flags == flags:
                    page = key & PAGE_MASK
                    if key & HUGE_KEY:
                        page = page * FANOUT + frame % FANOUT
                    mm = max(w.flush.tag_owner(w, cpu, tag), 0)
                    raise Violation(reason, mm * PAGES + page, cpu, WRITE if flags else 0)

    def table_freed(self, mm: int, index: int, frame: int) -> None:
        machine = self.world.machine
        for cpu, table in self.walks.items():
            if table == frame:
                raise Violation("freed-table-still-walked", mm * PAGES + index * FANOUT, cpu, 0)
        for cpu, entries in enumerate(machine.psc):
            if machine.cr3[cpu] < 0:
                continue
            if machine.cr3[cpu] == frame:
                raise Violation("freed-table-still-cached", mm * PAGES + index * FANOUT, cpu, 0)
            for key, entry in entries.items():
                if key >> UPPER_AT == machine.pcid[cpu] and frame_of(entry) == frame:
                    raise Violation("freed-table-still-cached", mm * PAGES + index * FANOUT, cpu, 0)

    def table_loaded(self, cpu: int, mm: int, root: int) -> None:
        """Check C3 in the other direction: the table that a CPU loads is still a page table."""
        w = self.world
        if w.root[mm] != root and (mm, root) not in w.gone:
            raise Violation("freed-table-loaded", mm * PAGES, cpu, 0)
