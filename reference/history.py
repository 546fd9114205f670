"""The specification state: every page's version history, what its objects contain, and which regions exist.

Follows correctness.md sections 1 to 4.
A page is a multi-writer regular register: its writes are operations over their whole footprint, in the order of the
PTL, and an access may see any version from the floor to the newest one.
Its floor for a kind of access rises when an operation that denies this kind has closed.

A version is one integer (reference.version); 0 grants nothing. A slot is `mm * 8 + page`.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from machine.entry import EXEC, NX, PKEY_SHIFT, PRESENT, READ, RW, UFFD_WP, USER, WRITE
from machine.geometry import FRAMES, PAGES
from machine.x86 import Machine
from mm.world import MMS, ZERO_FRAME
from reference.version import INCARNATION, KEY_AT, PLACE, grants

SLOTS: Final = MMS * PAGES
ZERO_OBJECT: Final = 0
"""What a page that maps the zero page contains: no store ever reaches it."""
NO_OBJECT: Final = -1
NOWHERE: Final = -1
IN_SWAP: Final = -2
"""Homes of objects that live in no frame: not mapped yet, or in a swap slot."""
_NX: Final = NX >> PKEY_SHIFT
_ABSENT: Final = [[0]] * SLOTS


@mypyc_attr(allow_interpreted_subclasses=True)
class History:
    """Keeps the history and answers which outcomes an access may show; never judges.

    `generation` and `memory` are the machine's own lists: a frame's incarnation, and the content that a new mapping
    exposes.
    """

    __slots__ = (
        "armed",
        "being_cleaned",
        "dropped",
        "file_objects",
        "floor",
        "freed_upto",
        "generation",
        "grabs",
        "home",
        "joined",
        "last_store",
        "memory",
        "objects",
        "open_drop",
        "open_free",
        "open_tracking",
        "promised",
        "region_rights",
        "shadow",
        "shared_object",
        "swapped",
        "time",
        "tracked",
        "versions",
        "visits",
        "walks",
    )

    def __init__(self, machine: Machine, cpus: int, known: "History | None" = None) -> None:
        """Begin with no region, no mapping and no operation in flight; or with all that another history knows of the
        machine that this one is a copy of.
        """
        self.generation = machine.generation
        self.memory = machine.memory
        if known is not None:
            self._copy(known)
            return
        self.time = 0
        # A list of versions is replaced and never changed, so that a copy of the history can share it.
        self.versions: list[list[int]] = _ABSENT.copy()
        self.floor: dict[int, list[int]] = {
            READ: [0] * SLOTS,
            WRITE: [0] * SLOTS,
            EXEC: [0] * SLOTS,
        }
        self.visits: list[list[tuple[int, int, int]]] = [[] for _ in range(cpus)]
        self.region_rights: list[int] = [-1] * SLOTS
        self.armed: list[int] = [0] * SLOTS
        # Objects: which object each address space has in a frame, and what the object contains.
        self.objects: list[int] = [NO_OBJECT] * (FRAMES * MMS)
        self.shared_object: list[int] = [NO_OBJECT] * FRAMES
        self.shadow: list[int] = [0]
        self.home: list[int] = [ZERO_FRAME]
        # By frame * MMS + mm: at how many further pages the address space has the object, by merges with this one; 0 if
        # they are gone.
        self.joined: dict[int, int] = {}
        # By slot * MMS + mm: the object of an address space that lives in a swap slot and in no frame.
        self.swapped: dict[int, int] = {}
        self.last_store: list[int] = [0]
        self.freed_upto: list[int] = [0]
        self.open_free: list[list[int]] = [[] for _ in range(cpus)]
        # The file: the object of each page of it, by place in World.shared, and the frames under writeback, a bit each.
        self.file_objects: dict[int, int] = {}
        self.being_cleaned = 0
        # Content that must not come back: by slot, an object that the page's last zap found and that lives on.
        self.dropped: dict[int, int] = {}
        # Address spaces in which each store must leave a soft-dirty mark, and clear_refs in flight by CPU.
        self.tracked: list[bool] = [False] * MMS
        self.open_tracking: dict[int, int] = {}
        self.open_drop: dict[int, list[tuple[int, int]]] = {}
        # By epoch: visits and drops that count when it has ended.
        self.promised: dict[int, tuple[list[tuple[int, int, int]], list[tuple[int, int]]]] = {}
        # Lockless walks by CPU: the page table that each reads, and whether the page was mapped as it found it when it
        # took its reference, from there to its end.
        self.walks: dict[int, int] = {}
        self.grabs: dict[int, bool] = {}

    def _copy(self, known: "History") -> None:
        self.time = known.time
        self.versions = known.versions.copy()
        self.floor = {kind: floors.copy() for kind, floors in known.floor.items()}
        self.visits = [visits.copy() for visits in known.visits]
        self.region_rights = known.region_rights.copy()
        self.armed = known.armed.copy()
        self.objects = known.objects.copy()
        self.shared_object = known.shared_object.copy()
        self.shadow = known.shadow.copy()
        self.home = known.home.copy()
        self.joined = known.joined.copy()
        self.swapped = known.swapped.copy()
        self.last_store = known.last_store.copy()
        self.freed_upto = known.freed_upto.copy()
        self.open_free = [owners.copy() for owners in known.open_free]
        self.file_objects = known.file_objects.copy()
        self.being_cleaned = known.being_cleaned
        self.dropped = known.dropped.copy()
        self.tracked = known.tracked.copy()
        self.open_tracking = known.open_tracking.copy()
        self.open_drop = {cpu: drops.copy() for cpu, drops in known.open_drop.items()}
        self.promised = {e: (v.copy(), drops.copy()) for e, (v, drops) in known.promised.items()}
        self.walks = known.walks.copy()
        self.grabs = known.grabs.copy()

    # Objects.

    def new_object(self, content: int) -> int:
        """Return a new object with the content."""
        self.shadow.append(content)
        self.home.append(NOWHERE)
        self.last_store.append(0)
        self.freed_upto.append(0)
        return len(self.shadow) - 1

    def object_new(self, mm: int, _page: int, frame: int) -> None:
        self.objects[frame * MMS + mm] = self.new_object(0)

    def zeros(self, first: int, count: int) -> None:
        """Every address space has the object of zeros there, until the frames are free."""
        self.shared_object[first : first + count] = [ZERO_OBJECT] * count
        self.objects[first * MMS : (first + count) * MMS] = [ZERO_OBJECT] * (count * MMS)

    def object_shared(self, mm: int, frame: int) -> None:
        if self.shared_object[frame] == NO_OBJECT:
            self.shared_object[frame] = self.new_object(0)
        self.objects[frame * MMS + mm] = self.shared_object[frame]

    def object_file(self, mm: int, place: int, frame: int) -> None:
        if place not in self.file_objects:
            self.file_objects[place] = self.new_object(0)
        owner = self.file_objects[place]
        self.shared_object[frame] = self.objects[frame * MMS + mm] = owner

    def object_ended(self, place: int) -> None:
        self.file_objects.pop(place, None)

    def cleaning(self, frame: int) -> None:
        self.being_cleaned |= 1 << frame

    def written(self, frame: int) -> None:
        self.being_cleaned &= ~(1 << frame)

    def object_fork(self, parent: int, child: int, frame: int) -> None:
        """Zeros have no snapshot."""
        if frame != ZERO_FRAME and self.shared_object[frame] != ZERO_OBJECT:
            at = frame * MMS + child
            if self.objects[at] == NO_OBJECT:
                self.objects[at] = self._snapshot(self.objects[frame * MMS + parent])
            else:
                self.joined[at] = self.joined.get(at, 0) + 1

    def _snapshot(self, original: int) -> int:
        copy = self.new_object(self.shadow[original])
        self.home[copy] = self.home[original]
        self.last_store[copy] = self.last_store[original]
        self.freed_upto[copy] = self.freed_upto[original]
        return copy

    def object_copied(self, mm: int, old: int, new: int) -> None:
        self.shared_object[new] = self.shared_object[old]
        for owner in range(MMS) if mm < 0 else (mm,):
            original = self.objects[old * MMS + owner]
            if self.joined and old * MMS + owner in self.joined:
                # A page that was merged goes its own way, though it be the last: of one that was zapped, a CPU may load
                # from the old frame until the gather is flushed (good_ksm_merged_page_zapped_and_copied).
                original = self._snapshot(original)
            self.objects[new * MMS + owner] = original

    def swapped_out(self, frame: int, slot: int) -> None:
        for mm in range(MMS):
            owner = self.objects[frame * MMS + mm]
            if owner != NO_OBJECT:
                self.objects[frame * MMS + mm] = NO_OBJECT
                self.swapped[slot * MMS + mm] = owner
                self.home[owner] = IN_SWAP

    def swapped_in(self, slot: int, frame: int) -> None:
        for mm in range(MMS):
            self.objects[frame * MMS + mm] = self.swapped.pop(slot * MMS + mm, NO_OBJECT)

    def slot_left(self, mm: int, slot: int) -> None:
        self.swapped.pop(slot * MMS + mm, None)

    def slot_fork(self, parent: int, child: int, slot: int) -> None:
        self.swapped[slot * MMS + child] = self._snapshot(self.swapped[slot * MMS + parent])

    def lives(self, owner: int) -> bool:
        """Return whether some address space still has the object, in a frame or in a swap slot."""
        return owner in self.objects or owner in self.swapped.values()

    def merged(self, mm: int, page: int, old: int, new: int) -> None:
        """The page keeps its object, unless `mm` has one in the new frame already: then it is one for both pages.

        Nobody may store to the frame before one of them is copied, and a copy begins an object of its own.
        """
        self.page_moved(mm, page)
        at = new * MMS + mm
        owner = self.objects[old * MMS + mm]
        into = self.objects[at]
        shared = old * MMS + mm in self.joined
        if into == NO_OBJECT:
            self.objects[at] = self._snapshot(owner) if shared else owner
        else:
            self.joined[at] = self.joined.get(at, 0) + 1
            self.last_store[into] = max(self.last_store[into], self.last_store[owner])
            if not shared:
                self.home[owner] = NOWHERE
        self.object_left(mm, old)

    def object_left(self, mm: int, frame: int) -> None:
        # A shared object may be mapped twice by one address space (mremap, then mmap again): it stays until freed.
        at = frame * MMS + mm
        if self.joined.get(at):
            self.joined[at] -= 1
        elif self.shared_object[frame] == NO_OBJECT:
            self.objects[at] = NO_OBJECT
            self.joined.pop(at, None)

    def forget_frame(self, frame: int) -> None:
        """The frame is free: it contains no object."""
        self.shared_object[frame] = NO_OBJECT
        self.objects[frame * MMS : (frame + 1) * MMS] = [NO_OBJECT] * MMS

    # Versions.

    def version_of(self, mm: int, entry: int) -> int:
        """Return the version that a leaf entry makes of a page of `mm`."""
        if not entry & PRESENT or not entry & USER:
            return 0
        frame = (entry >> 19) & 60 | (entry >> 12) & 3
        owner = ZERO_OBJECT if frame == ZERO_FRAME else self.objects[frame * MMS + mm]
        # NX and the key with one operation on an integer of 64 bits.
        high = entry >> PKEY_SHIFT
        granted = READ | entry & RW | (0 if high & _NX else EXEC)
        owner = owner << 2 | high & 3
        return owner << KEY_AT | self.generation[frame] << 9 | frame << 3 | granted

    def region(self, mm: int, page: int, rights: int) -> None:
        self.region_rights[mm * PAGES + page] = rights

    def commit(self, mm: int, page: int, entry: int) -> None:
        slot = mm * PAGES + page
        self.armed[slot] = entry & UFFD_WP
        version = self.version_of(mm, entry)
        self.versions[slot] = [*self.versions[slot], version]
        if version >> 24:
            self.home[version >> 24] = version >> 3 & 63

    def visit(self, cpu: int, mm: int, page: int, deny: int) -> None:
        slot = mm * PAGES + page
        if deny:
            self.visits[cpu].append((slot, len(self.versions[slot]) - 1, deny))

    def close(self, cpu: int) -> None:
        """Raise the floors of what the CPU's operation visited: its promises hold from here."""
        visits = self.visits[cpu]
        if visits:
            self._raise_floors(visits)
            visits.clear()
        freed = self.open_free[cpu]
        if freed:
            for owner in freed:
                self.freed_upto[owner] = self.time
            freed.clear()
        if cpu in self.open_tracking:
            self.tracked[self.open_tracking.pop(cpu)] = True
        if cpu in self.open_drop:
            self.dropped.update(self.open_drop.pop(cpu))

    def _raise_floors(self, visits: list[tuple[int, int, int]]) -> None:
        for slot, index, deny in visits:
            for kind in (READ, WRITE, EXEC):
                if deny & kind and self.floor[kind][slot] < index:
                    self.floor[kind][slot] = index

    def postponed(self, cpu: int, epoch: int) -> None:
        self.promised[epoch] = (self.visits[cpu].copy(), self.open_drop.pop(cpu, []))
        self.visits[cpu].clear()

    def epoch_ended(self, epoch: int) -> None:
        visits, drops = self.promised.pop(epoch)
        self._raise_floors(visits)
        self.dropped.update(drops)

    # Answers.

    def changes(self) -> int:
        """Return how many changes of a page's entry were committed: the flushes that the reference makes."""
        return sum(map(len, self.versions)) - SLOTS

    def explain(self, slot: int, kind: int, incarnation: int, pkru: int = 0) -> int:
        """Return the newest version that lets an access of `kind` use the incarnation, or -1 when none does (C1).

        `pkru`: the register of the CPU that makes the access.
        """
        versions = self.versions[slot]
        wanted = incarnation << 3
        for index in range(len(versions) - 1, self.floor[kind][slot] - 1, -1):
            version = versions[index]
            if version & PLACE == wanted and grants(version, kind, pkru):
                return version
        return -1

    def allowed(self, slot: int, kind: int, pkru: int = 0) -> set[int]:
        """Return the incarnations that an access of `kind` may use now; empty when it must fault. `pkru`: as above."""
        return {
            version >> 3 & INCARNATION
            for version in self.versions[slot][self.floor[kind][slot] :]
            if grants(version, kind, pkru)
        }

    def store(self, version: int, value: int) -> None:
        """Adopt a store that the version explains, in its object and in every other that still shares the frame."""
        owner = version >> 24
        self.time += 1
        self.shadow[owner] = value
        self.last_store[owner] = self.time
        at = (version >> 3 & 63) * MMS
        for other in self.objects[at : at + MMS]:
            if other >= 0 and other != owner:
                self.shadow[other] = value
                self.last_store[other] = self.time

    def lazy_freed(self, cpu: int, mm: int, frame: int) -> None:
        self.open_free[cpu].append(self.objects[frame * MMS + mm])

    def content_dropped(self, cpu: int, mm: int, page: int) -> None:
        """Note what the page showed last, if it is private and still lives."""
        slot = mm * PAGES + page
        for version in reversed(self.versions[slot]):
            if version:
                owner = version >> 24
                if owner != ZERO_OBJECT and self.lives(owner) and owner not in self.shared_object:
                    self.open_drop.setdefault(cpu, []).append((slot, owner))
                return

    def tracking(self, cpu: int, mm: int) -> None:
        """While marks are cleared nothing is promised about them."""
        self.tracked[mm] = False
        self.open_tracking[cpu] = mm

    def exited(self, mm: int) -> None:
        """Who comes after it under the same number was never asked for marks."""
        self.tracked[mm] = False

    def page_moved(self, mm: int, page: int) -> None:
        # What the same mremap has unmapped there counts no more either, although it has not returned.
        slot = mm * PAGES + page
        self.dropped.pop(slot, None)
        for drops in self.open_drop.values():
            drops[:] = [drop for drop in drops if drop[0] != slot]
        for _, drops in self.promised.values():
            drops[:] = [drop for drop in drops if drop[0] != slot]

    def dispensable(self, owner: int) -> bool:
        """Return whether every store to the object was given up by an MADV_FREE that came after it or is still open."""
        if any(owner in freed for freed in self.open_free):
            return True
        return self.last_store[owner] <= self.freed_upto[owner]
