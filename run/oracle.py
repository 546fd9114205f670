"""The oracle: holds every event of a run against the reference's history and stops at the first illegal one."""

from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from shootdown.contract.calls import call_of
from shootdown.contract.contract import Contract
from shootdown.contract.rest import at_rest
from shootdown.machine.caches import FETCH, GLOBAL_TAG, HUGE_KEY, TAG_AT, TAG_MASK, UPPER_AT
from shootdown.machine.entry import DIRTY, EXEC, READ, RW, SOFT_DIRTY, WRITE
from shootdown.machine.geometry import FANOUT, FRAME_MASK, PAGE_MASK, PAGES, frame_of
from shootdown.machine.pkru import denies
from shootdown.machine.tlb_entry import GENERATION_AT, INCARNATION_AT, tlb_grants
from shootdown.mm.observer import KEY_SHIFT
from shootdown.mm.page_cache import is_changing, to_be_written
from shootdown.mm.state import INIT_MM, MMS, VM_SOFTDIRTY
from shootdown.mm.tables import leaf_of
from shootdown.mm.world import World
from shootdown.reference.history import SLOTS, History
from shootdown.reference.objects import NO_OBJECT, NOWHERE
from shootdown.reference.version import OBJECT_AT, PLACE, PLACE_AT, SEEN, key_refuses, seen
from shootdown.scenario.kinds import KINDS

NO_SKIP: Final = (-1, 0, 0)
_CALLS: Final = [call_of(kind.name) for kind in KINDS]
"""By the number of an operation, the call of the contract that it makes."""


class Violation(Exception):
    """The run showed something that the reference does not allow."""

    def __init__(self, reason: str, slot: int, cpu: int, kind: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.slot = slot
        self.cpu = cpu
        self.kind = kind


@mypyc_attr(allow_interpreted_subclasses=True)
class Oracle(History):
    """Implements mm.observer.Observer by the rules C1 to C7; raises Violation at the event that breaks one.

    When an outcome is legal but not the one the reference itself would show, it is adopted: the store reaches the
    shadow, so the rest of the run is judged from what the program really saw (correctness.md section 4).

    Of the parts of Observer, Objects answers Contents, and History Regions; Accesses, Frames and Walkers are judged
    here. Calls are kept by History, and told to the contract here.
    """

    SHARED: ClassVar[frozenset[str]] = frozenset({"contract", "generation", "memory", "world"})
    __deletable__ = ["world"]  # noqa: RUF012 - what mypyc reads to compile `del`, a literal list

    world: World

    def attach(self, w: World) -> None:
        """Begin to observe a world that has not run yet."""
        self.world = w
        self.contract = Contract(w.steps, MMS, w.pages)
        self.skips: list[tuple[int, int, int]] = [NO_SKIP] * SLOTS
        # CPUs, a bit each, whose fault in flight is a denial that was explained when the hardware raised it.
        self.explained = 0

    def fork(self) -> tuple[World, "Oracle"]:
        """Return a copy of the observed world with an oracle of its own that knows what this one does."""
        w = self.world.copy()
        other = Oracle(w.machine, w.cpus, self)
        w.observer = other
        other.world = w
        other.contract = self.contract.copy_for(w.steps)
        other.skips = self.skips.copy()
        other.explained = self.explained
        return w, other

    def detach(self) -> None:
        """Cease to observe; what was recorded stays.

        A world and its oracle that name each other wait for the garbage collector, which took a third of the time of
        a boot.
        """
        del self.world

    def began(self, cpu: int, number: int, page: int, count: int, arg: int) -> None:
        call = _CALLS[number]
        if call:
            w = self.world
            self.contract.began(cpu, call, w.task_mm[cpu], page, count, arg)

    def withdrawn(self, cpu: int) -> None:
        self.contract.withdrawn(cpu)

    def forked(self, cpu: int, child: int) -> None:
        self.contract.forked(cpu, child)

    def lock_missing(self, cpu: int, mm: int, page: int) -> None:
        raise Violation("lock-not-held", mm * PAGES + page, cpu, 0)

    def exited(self, mm: int) -> None:
        super().exited(mm)
        self.contract.exited(mm)

    def close(self, cpu: int) -> None:
        """As History; a fault of the CPU is over, with what has explained it."""
        if self.explained:
            self.explained &= ~(1 << cpu)
        # Not super(), which looks the method up at each of twenty calls an execution: it took a hundredth of the time.
        History.close(self, cpu)
        contract = self.contract
        if contract.calls or contract.explained:
            reason = contract.closed(cpu)
            if reason:
                raise Violation(reason, self.world.task_mm[cpu] * PAGES, cpu, 0)

    def postponed(self, cpu: int, epoch: int) -> None:
        super().postponed(cpu, epoch)
        self.contract.postpone(cpu, epoch)

    def epoch_ended(self, epoch: int) -> None:
        super().epoch_ended(epoch)
        self.contract.epoch_ended(epoch)

    def appears(self, slot: int, owner: int, frame: int) -> None:
        if self.dropped and self.dropped.get(slot) == owner:
            raise Violation("dropped-page-comes-back", slot, -1, READ)
        came = self.home[owner] not in (frame, NOWHERE)
        if came and self.memory[frame << 2] != self.shadow[owner]:
            raise Violation("copy-missed-a-store", slot, -1, WRITE)

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
        """C5 for soft-dirty tracking: a store behind clear_refs leaves a mark, or its region counts as written.

        Or there is no region any more: munmap has taken it out and comes to the entry next, and nobody who asks which
        pages were written is told of this one.
        """
        w = self.world
        vma = w.vma[mm][page]
        if vma and not (leaf_of(w, mm, page) & SOFT_DIRTY or vma & VM_SOFTDIRTY):
            raise Violation("write-untracked", mm * PAGES + page, cpu, WRITE)

    def _refuse_unseen(self, frame: int, slot: int, cpu: int) -> None:
        """C5 for the file: what is stored reaches the backing store, because the folio is dirty or still to be written.

        Who holds the PTL may have the dirty entry in hand, out of the table.
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
        """Note whether the fault is explained, at this instant.

        The handler may come to it much later, when the operation that has changed the key is over and forgotten.
        """
        slot = self.world.task_mm[cpu] * PAGES + page
        pkru = self.world.machine.pkru[cpu]
        # Whoever changes a key takes loads away from older translations: so that floor tells which may still be met.
        for version in self.versions[slot][self.floor[READ][slot] :]:
            if key_refuses(version, kind, pkru):
                self.explained |= 1 << cpu
        self.contract.hardware_denied(cpu, slot, kind)

    def fetch_denied(self, cpu: int, page: int) -> None:
        """As key_denied: Linux's handler heals no such fault, however late it comes to it."""
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

    def freed(self, frame: int) -> None:
        """C3 in its white-box form: no TLB that can still translate in its address space holds the frame."""
        self._refuse_holders(frame, 0, "freed-frame-still-cached")
        self.forget_frame(frame)

    def copying(self, frame: int) -> None:
        """C4 in the same form: no TLB can still write to a frame while it is copied.

        A clean entry is no danger: a store through it re-walks, and traps because the entry is gone (mm/rmap.c relies
        on it); unless the machine is one that does not re-walk.
        """
        writable = RW if self.world.machine.blind_dirty else RW | DIRTY
        self._refuse_holders(frame, writable, "copied-under-a-writer")

    def merged(self, mm: int, page: int, old: int, new: int) -> None:
        """C4: what was compared is still what the page contains."""
        if self.shadow[self.objects[old * MMS + mm]] != self.memory[new << 2]:
            raise Violation("copy-missed-a-store", mm * PAGES + page, -1, WRITE)
        super().merged(mm, page, old, new)

    def _refuse_holders(self, frame: int, flags: int, reason: str) -> None:
        """Raise Violation when a loaded translation to the frame has all of the flags; one for fetches has none.

        A lazy CPU, and one inside switch_mm with interrupts disabled, makes no user access, and compares generations
        before it makes one again, so its entries do not count; for page tables they do. A lockless walker, which has
        interrupts disabled as well, compares nothing.
        (A flush that spares a lazy CPU may meet it between leaving lazy mode and comparing.)
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
        """C3 the other way round: what a CPU loads is still a page table."""
        w = self.world
        if w.root[mm] != root and (mm, root) not in w.gone:
            raise Violation("freed-table-loaded", mm * PAGES, cpu, 0)

    def walk_began(self, cpu: int, table: int) -> None:
        self.walks[cpu] = table

    def walk_ended(self, cpu: int) -> None:
        del self.walks[cpu]
        self.grabs.pop(cpu, None)

    def grabbed(self, cpu: int, frame: int) -> None:
        self.grabs[cpu] = self._is_mapped(cpu, frame)

    def _is_mapped(self, cpu: int, frame: int) -> bool:
        """Return whether the CPU's address space maps the frame, as it lives now, at any page: mremap moves a page and
        asks nobody who has a reference.
        """
        first = self.world.task_mm[cpu] * PAGES
        place = (self.generation[frame] << GENERATION_AT | frame) << PLACE_AT
        newest = [versions[-1] for versions in self.versions[first : first + PAGES]]
        return any(version and version & PLACE == place for version in newest)

    def pinned(self, cpu: int, page: int, frame: int) -> None:
        """C4 for who unmaps a page to move it: a reference that such an operation cannot have seen is not kept."""
        if not self.grabs[cpu] and not self._is_mapped(cpu, frame):
            slot = self.world.task_mm[cpu] * PAGES + page
            raise Violation("pinned-behind-unmapping", slot, cpu, READ)

    def pin_read(self, cpu: int, page: int, frame: int, value: int) -> None:
        """As a load by a program: the frame lives, and shows the object's content as long as the object is in it."""
        mm = self.world.task_mm[cpu]
        if self.world.free_frames >> frame & 1:
            raise Violation("access-to-freed-frame", mm * PAGES + page, cpu, READ)
        owner = self.objects[frame * MMS + mm]
        if owner != NO_OBJECT and self.home[owner] == frame and self.shadow[owner] != value:
            raise Violation("lost-store", mm * PAGES + page, cpu, READ)

    def discarded(self, mm: int, page: int, frame: int) -> None:
        owner = self.objects[frame * MMS + mm]
        if owner != NO_OBJECT and not self.dispensable(owner):
            raise Violation("dirty-lost", mm * PAGES + page, -1, WRITE)

    def skipped(self, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        self.skips[mm * PAGES + page] = (self.world.op[cpu], old, new)

    def at_rest(self) -> None:
        """C6, and the counters: call when no operation is in flight."""
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
            # A store through a clean entry looks at the page table first, so this grants no store by itself.
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
