"""A world with nothing in flight: the final state of every TLB, counter, file and call (C5 to C7, cost)."""

from mypy_extensions import mypyc_attr

from shootdown.contract.rest import at_rest
from shootdown.machine.caches import FETCH, GLOBAL_TAG, HUGE_KEY, TAG_AT, TAG_MASK
from shootdown.machine.entry import DIRTY, EXEC, WRITE
from shootdown.machine.geometry import FANOUT, PAGE_MASK, PAGES
from shootdown.machine.tlb_entry import tlb_grants
from shootdown.mm.page_cache import to_be_written
from shootdown.mm.state import INIT_MM
from shootdown.reference.version import PLACE_AT, SEEN, seen
from shootdown.run.oracle.violation import Violation
from shootdown.run.oracle.walkers import WalkerJudge


@mypyc_attr(allow_interpreted_subclasses=True)
class RestJudge(WalkerJudge):
    """The judge of the end of a run, and of every world of a proof in which no operation is open."""

    def at_rest(self) -> None:
        """Check C6 and the counters; call this when no operation is in flight."""
        w = self.world
        w.flush.quiesce(w)
        if self.file_objects:
            self._files_at_rest()
        for cpu, entries in enumerate(w.machine.tlb):
            for key, entry in entries.items():
                tag = key >> TAG_AT & TAG_MASK
                pcid = w.machine.pcid[cpu] if tag == GLOBAL_TAG else tag
                mm = w.flush.tag_owner(w, cpu, pcid)
                if mm != INIT_MM:
                    self._entry_at_rest(cpu, mm, key, entry)
        for mm, root in enumerate(w.root):
            if root >= 0 and w.flush_state.count_open(mm):
                raise Violation("pending-never-zero", mm * PAGES, -1, 0)
        reason, slot = at_rest(w, self.contract)
        if reason:
            raise Violation(reason, slot, -1, 0)

    def _files_at_rest(self) -> None:
        w = self.world
        for place, owner in self.file_objects.items():
            frame = w.shared[place]
            kept = frame >= 0 and to_be_written(w, frame)
            if self.shadow[owner] != w.disk.get(place, 0) and not kept:
                raise Violation("store-not-written-back", place % PAGES, -1, WRITE)

    def _entry_at_rest(self, cpu: int, mm: int, key: int, entry: int) -> None:
        grants = tlb_grants(entry)
        if not entry & DIRTY and not self.world.machine.blind_dirty:
            # A store through a clean entry looks at the page table first, so the entry alone grants no store.
            grants &= ~WRITE
        if self.world.machine.split_tlb:
            grants &= EXEC if key & FETCH else ~EXEC
        held = seen(entry)
        at = key & PAGE_MASK
        pages = range(at * FANOUT, at * FANOUT + FANOUT) if key & HUGE_KEY else (at,)
        for i, page in enumerate(pages):
            version = self.versions[mm * PAGES + page][-1]
            if version & SEEN != held + (i << PLACE_AT) or grants & ~version:
                raise Violation("stale-entry-at-rest", mm * PAGES + page, cpu, 0)
