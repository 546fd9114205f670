"""The objects of the pages: their contents, and the frames in which they live.

This module follows correctness.md section 1.
An object is the content of an address space at a page; copies and reclaim move it between frames and swap. Its shadow
is the value that a load of it must see.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.machine.geometry import FRAME_MASK, FRAMES
from shootdown.machine.plain import Plain
from shootdown.machine.x86 import Machine
from shootdown.mm.state import MMS, ZERO_FRAME
from shootdown.reference.version import OBJECT_AT, PLACE_AT

ZERO_OBJECT: Final = 0
"""The object of a page that maps the zero page: no store ever reaches it."""
NO_OBJECT: Final = -1
NOWHERE: Final = -1
IN_SWAP: Final = -2
"""The homes of objects that live in no frame: not mapped yet, or in a swap slot."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Objects(Plain):
    """The content and the home of each object, without the versions of pages.

    `generation`, `memory`: the machine's own lists, for a frame's incarnation and the content that a new mapping
    exposes.
    """

    def __init__(self, machine: Machine, known: "Objects | None" = None) -> None:
        self.generation = machine.generation
        self.memory = machine.memory
        self.time: int = known.time if known else 0
        # The object of each address space in a frame, and the content of each object.
        self.objects: list[int] = known.objects.copy() if known else [NO_OBJECT] * (FRAMES * MMS)
        self.shared_object: list[int] = (
            known.shared_object.copy() if known else [NO_OBJECT] * FRAMES
        )
        self.shadow: list[int] = known.shadow.copy() if known else [0]
        self.home: list[int] = known.home.copy() if known else [ZERO_FRAME]
        # By frame * MMS + mm: the number of further pages at which the address space has the object, after merges; 0 if
        # they are gone.
        self.joined: dict[int, int] = known.joined.copy() if known else {}
        # By slot * MMS + mm: the object of an address space that lives only in a swap slot.
        self.swapped: dict[int, int] = known.swapped.copy() if known else {}
        self.last_store: list[int] = known.last_store.copy() if known else [0]
        self.freed_upto: list[int] = known.freed_upto.copy() if known else [0]
        # The file: the object of each page, by place in State.shared, and the frames under writeback, one bit each.
        self.file_objects: dict[int, int] = known.file_objects.copy() if known else {}
        self.being_cleaned: int = known.being_cleaned if known else 0

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
        """Give every address space the object of zeros in the frames, until they are free."""
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
        """Give the child a snapshot of the parent's object; zeros have none."""
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
                # A page that was merged gets its own object, even if it is the last one: after the zap of another one a
                # CPU may load from the old frame until the gather's flush (good_ksm_merged_page_zapped_and_copied).
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

    def object_merged(self, mm: int, old: int, new: int) -> None:
        """Keep the page's object, unless `mm` already has one in the new frame: then both pages have that one.

        No store may reach the frame before one of the pages is copied, and a copy begins a new object.
        """
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
        # One address space may map a shared object twice (mremap, then mmap again): it stays until the frame is freed.
        at = frame * MMS + mm
        if self.joined.get(at):
            self.joined[at] -= 1
        elif self.shared_object[frame] == NO_OBJECT:
            self.objects[at] = NO_OBJECT
            self.joined.pop(at, None)

    def forget_frame(self, frame: int) -> None:
        """Forget the objects of the frame, which is free."""
        self.shared_object[frame] = NO_OBJECT
        self.objects[frame * MMS : (frame + 1) * MMS] = [NO_OBJECT] * MMS

    def store(self, version: int, value: int) -> None:
        """Adopt a store that the version explains, in its object and in every other one that still shares the frame."""
        owner = version >> OBJECT_AT
        self.time += 1
        self.shadow[owner] = value
        self.last_store[owner] = self.time
        at = (version >> PLACE_AT & FRAME_MASK) * MMS
        for other in self.objects[at : at + MMS]:
            if other >= 0 and other != owner:
                self.shadow[other] = value
                self.last_store[other] = self.time
