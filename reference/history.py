"""The specification state: every page's version history, the promises of operations in flight, and the regions.

It follows correctness.md sections 1 to 4; the contents of the objects are in reference.objects.
A page is a multi-writer regular register: its writes are operations over their whole footprint, in the order of the
PTL, and an access may see any version from the floor to the newest one.
Its floor for a kind of access rises when an operation that denies this kind has closed.

A version is one integer (reference.version); 0 grants nothing. A slot is `mm * 8 + page`.
"""

from collections.abc import Sequence
from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.machine.entry import EXEC, NX, PKEY_SHIFT, PRESENT, READ, RW, UFFD_WP, USER, WRITE
from shootdown.machine.geometry import FRAME_MASK, PAGES
from shootdown.machine.tlb_entry import GENERATION_AT
from shootdown.machine.x86 import Machine
from shootdown.mm.state import MMS, ZERO_FRAME
from shootdown.reference.objects import ZERO_OBJECT, Objects
from shootdown.reference.version import INCARNATION, KEY_AT, OBJECT_AT, PLACE, PLACE_AT, grants

SLOTS: Final = MMS * PAGES
Visit = tuple[int, int, int]
"""A slot that an operation has visited, the index of its version, and the kinds of access that the visit denies."""
Drop = tuple[int, int]
"""A slot that an operation has emptied, and the object that it found there."""
ONCE_MAPPED: Final = 8
"""The mark, beside the kinds of a visit, that the denial begins when the page maps content other than zeros again."""
_ANY_KIND: Final = READ | WRITE | EXEC
_NX: Final = NX >> PKEY_SHIFT
_GENERATION_AT: Final = GENERATION_AT + PLACE_AT
"""The position of the generation in a version."""


@mypyc_attr(allow_interpreted_subclasses=True)
class History(Objects):
    """The history, which says which outcomes an access may show; it never judges."""

    def __init__(self, machine: Machine, cpus: int, known: "History | None" = None) -> None:
        """Begin with no region, no mapping and no operation in flight, or continue from `known`."""
        super().__init__(machine, known)
        self.versions: list[tuple[int, ...]] = known.versions.copy() if known else [(0,)] * SLOTS
        self.floor: dict[int, list[int]] = (
            {n: one.copy() for n, one in known.floor.items()}
            if known
            else {kind: [0] * SLOTS for kind in (READ, WRITE, EXEC)}
        )
        self.visits: list[list[Visit]] = (
            [one.copy() for one in known.visits] if known else [[] for _ in range(cpus)]
        )
        self.region_rights: list[int] = known.region_rights.copy() if known else [-1] * SLOTS
        self.armed: list[int] = known.armed.copy() if known else [0] * SLOTS
        # By CPU: the objects that an MADV_FREE in flight gives up.
        self.open_free: dict[int, list[int]] = (
            {n: one.copy() for n, one in known.open_free.items()} if known else {}
        )
        # Content that must not come back: by slot, an object that the page's last zap found and that still lives.
        self.dropped: dict[int, int] = known.dropped.copy() if known else {}
        # The closed visits that deny ONCE_MAPPED: by slot, the index of the newest one.
        self.emptied: dict[int, int] = known.emptied.copy() if known else {}
        # By CPU: the pages on which the operation in flight allows fetches that were denied before.
        self.promotions: dict[int, list[int]] = (
            {n: one.copy() for n, one in known.promotions.items()} if known else {}
        )
        # The address spaces in which each store must leave a soft-dirty mark, and clear_refs in flight by CPU.
        self.tracked: list[bool] = known.tracked.copy() if known else [False] * MMS
        self.open_tracking: dict[int, int] = known.open_tracking.copy() if known else {}
        self.open_drop: dict[int, list[Drop]] = (
            {n: one.copy() for n, one in known.open_drop.items()} if known else {}
        )
        # By epoch: the visits and drops that count when it has ended.
        self.promised: dict[int, tuple[tuple[Visit, ...], tuple[Drop, ...]]] = (
            known.promised.copy() if known else {}
        )
        # Lockless walks by CPU: the page table that each reads; and, after it has taken its reference, whether the page
        # was mapped at that moment as the walk has found it.
        self.walks: dict[int, int] = known.walks.copy() if known else {}
        self.grabs: dict[int, bool] = known.grabs.copy() if known else {}

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
        return (
            owner << KEY_AT | self.generation[frame] << _GENERATION_AT | frame << PLACE_AT | granted
        )

    def region(self, cpu: int, mm: int, page: int, rights: int) -> None:
        slot = mm * PAGES + page
        if cpu >= 0 and rights >= 0 and rights & EXEC and not self._allows_fetch(slot):
            self.promotions.setdefault(cpu, []).append(slot)
        self.region_rights[slot] = rights

    def _allows_fetch(self, slot: int) -> bool:
        rights = self.region_rights[slot]
        return rights >= 0 and bool(rights & EXEC)

    def commit(self, mm: int, page: int, entry: int) -> None:
        """Give the page the version of the entry; its object lives in the version's frame from here on."""
        slot = mm * PAGES + page
        version = self.version_of(mm, entry)
        owner = version >> OBJECT_AT
        if owner:
            frame = version >> PLACE_AT & FRAME_MASK
            self.appears(slot, owner, frame)
            self.home[owner] = frame
        self.armed[slot] = entry & UFFD_WP
        self.versions[slot] = (*self.versions[slot], version)
        if owner and self.emptied:
            self._content_mapped(slot)

    def appears(self, slot: int, owner: int, frame: int) -> None:
        """An entry of the page is about to map the object, with the content of the frame; a judge overrides this."""

    def _content_mapped(self, slot: int) -> None:
        """Make zeros stale from here on, if an operation has found the page unmapped."""
        if slot in self.emptied:
            self._raise_floor(slot, self.emptied.pop(slot), _ANY_KIND)

    def visit(self, cpu: int, mm: int, page: int, deny: int) -> None:
        slot = mm * PAGES + page
        if deny:
            self.visits[cpu].append((slot, len(self.versions[slot]) - 1, deny))

    def close(self, cpu: int) -> None:
        """Raise the floors of the slots that the CPU's operation visited: its promises hold from here."""
        visits = self.visits[cpu]
        if visits:
            self._raise_floors(visits)
            visits.clear()
        if cpu in self.open_free:
            for owner in self.open_free.pop(cpu):
                self.freed_upto[owner] = self.time
        if cpu in self.open_tracking:
            self.tracked[self.open_tracking.pop(cpu)] = True
        if cpu in self.promotions:
            del self.promotions[cpu]
        if cpu in self.open_drop:
            self.dropped.update(self.open_drop.pop(cpu))

    def _raise_floors(self, visits: Sequence[Visit]) -> None:
        for slot, index, deny in visits:
            if deny & ONCE_MAPPED and not self.shows_content(slot, index):
                self.emptied[slot] = max(index, self.emptied.get(slot, 0))
            else:
                self._raise_floor(slot, index, deny)

    def _raise_floor(self, slot: int, index: int, deny: int) -> None:
        for kind in (READ, WRITE, EXEC):
            if deny & kind and self.floor[kind][slot] < index:
                self.floor[kind][slot] = index

    def shows_content(self, slot: int, index: int) -> bool:
        """Return whether a version from the index to the newest one shows content other than zeros."""
        return any(version >> OBJECT_AT != ZERO_OBJECT for version in self.versions[slot][index:])

    def postponed(self, cpu: int, epoch: int) -> None:
        self.promised[epoch] = (tuple(self.visits[cpu]), tuple(self.open_drop.pop(cpu, ())))
        self.visits[cpu].clear()

    def epoch_ended(self, epoch: int) -> None:
        visits, drops = self.promised.pop(epoch)
        self._raise_floors(visits)
        self.dropped.update(drops)

    # Answers.

    def may_deny_fetch(self, slot: int) -> bool:
        """Return whether a translation of the page may deny a fetch now.

        It may if the region denies it, or denied it until an operation that is still in flight.
        """
        return not self._allows_fetch(slot) or any(
            slot in slots for slots in self.promotions.values()
        )

    def changes(self) -> int:
        """Return the number of committed changes of entries, which is the number of flushes of the reference."""
        return sum(map(len, self.versions)) - SLOTS

    def explain(self, slot: int, kind: int, incarnation: int, pkru: int = 0) -> int:
        """Return the newest version that lets an access of `kind` use the incarnation, or -1 if none does (C1).

        `pkru`: the register of the CPU of the access.
        """
        versions = self.versions[slot]
        wanted = incarnation << PLACE_AT
        for index in range(len(versions) - 1, self.floor[kind][slot] - 1, -1):
            version = versions[index]
            if version & PLACE == wanted and grants(version, kind, pkru):
                return version
        return -1

    def allowed(self, slot: int, kind: int, pkru: int = 0) -> set[int]:
        """Return the incarnations that an access of `kind` may use now; empty if it must fault.

        `pkru`: the register of the CPU of the access.
        """
        return {
            version >> PLACE_AT & INCARNATION
            for version in self.versions[slot][self.floor[kind][slot] :]
            if grants(version, kind, pkru)
        }

    def lazy_freed(self, cpu: int, mm: int, frame: int) -> None:
        self.open_free.setdefault(cpu, []).append(self.objects[frame * MMS + mm])

    def found_unmapped(self, cpu: int, mm: int, page: int) -> None:
        """Record that the content of the page must not come back: not by an older translation, and not the object
        itself, if it is private and still lives.

        If the region stays, a translation to zeros shows the right content for later loads until something else is
        mapped. So a translation to the huge zero page may live while a store that replaces it is about to flush
        (good_dontneed_beside_a_store_to_huge_zeros).
        """
        slot = mm * PAGES + page
        versions = self.versions[slot]
        index = first = len(versions) - 1
        if self.region_rights[slot] >= 0:
            while first and versions[first - 1] >> OBJECT_AT == ZERO_OBJECT:
                first -= 1
        self.visits[cpu].append((slot, first, _ANY_KIND))
        if first < index:
            self.visits[cpu].append((slot, index, _ANY_KIND | ONCE_MAPPED))
        for version in reversed(versions):
            if version:
                owner = version >> OBJECT_AT
                if owner != ZERO_OBJECT and self.lives(owner) and owner not in self.shared_object:
                    self.open_drop.setdefault(cpu, []).append((slot, owner))
                return

    def tracking(self, cpu: int, mm: int) -> None:
        """Promise nothing about marks while they are cleared."""
        self.tracked[mm] = False
        self.open_tracking[cpu] = mm

    def exited(self, mm: int) -> None:
        """Stop tracking: a later space with the same number has no marks to keep."""
        self.tracked[mm] = False

    def merged(self, mm: int, page: int, old: int, new: int) -> None:
        self.page_moved(mm, page)
        self.object_merged(mm, old, new)

    def page_moved(self, mm: int, page: int) -> None:
        # A drop by the same mremap does not count any more either, although the mremap has not returned.
        slot = mm * PAGES + page
        self.dropped.pop(slot, None)
        for drops in self.open_drop.values():
            drops[:] = [drop for drop in drops if drop[0] != slot]
        for epoch, (visits, promised) in self.promised.items():
            self.promised[epoch] = (visits, tuple(drop for drop in promised if drop[0] != slot))

    def dispensable(self, owner: int) -> bool:
        """Return whether a later MADV_FREE, or one that is still open, has given up every store to the object."""
        return self._is_being_freed(owner) or self.last_store[owner] <= self.freed_upto[owner]

    def _is_being_freed(self, owner: int) -> bool:
        """Return whether an MADV_FREE of the object is in flight."""
        return any(owner in freed for freed in self.open_free.values())

    def _snapshot(self, original: int) -> int:
        """Return a snapshot of the object; what an MADV_FREE in flight has given up is given up in it, too."""
        copy = super()._snapshot(original)
        if self._is_being_freed(original):
            self.freed_upto[copy] = self.time
        return copy

    def store(self, version: int, value: int) -> None:
        """Adopt a store as Objects does; during an MADV_FREE in flight the store may be older than the call."""
        super().store(version, value)
        owner = version >> OBJECT_AT
        if self.open_free and self._is_being_freed(owner):
            at = (version >> PLACE_AT & FRAME_MASK) * MMS
            for other in self.objects[at : at + MMS]:
                if other >= 0:
                    self.freed_upto[other] = self.time
