"""The names that a walk over a world gives its frames, objects and stored values, as it meets them."""

from typing import Final

from shootdown.machine.entry import SWAP
from shootdown.machine.geometry import FRAME_MASK, FRAMES
from shootdown.machine.x86 import POISON_ALLOC, POISON_FREE
from shootdown.mm.tables import is_swap
from shootdown.prove.packing import flags_of
from shootdown.reference.version import GRANTS, OBJECT_AT, PLACE_AT, key_of

_UNNAMED: Final = -1


class Names:
    """Gives names; `frames` and `owners` list what was named, in order.

    Without `names`, objects and values keep their own names; with `number_frames`, frames keep their numbers.
    """

    __slots__ = ("frames", "named", "names", "owner_names", "owners", "values")

    def __init__(self, *, names: bool, number_frames: bool) -> None:
        self.names = names
        self.named: list[int] = [_UNNAMED] * FRAMES
        self.frames: list[int] = []
        self.owner_names: dict[int, int] = {}
        self.owners: list[int] = []
        self.values: dict[int, int] = {0: 0, POISON_FREE: 1, POISON_ALLOC: 2}
        if number_frames:
            for frame in range(FRAMES):
                self.frame(frame)
        self.frame(0)
        self.owner(0)

    def frame(self, frame: int) -> int:
        """Return the name of a frame, a new one if it has none."""
        name = self.named[frame]
        if name < 0:
            name = self.named[frame] = len(self.frames)
            self.frames.append(frame)
        return name

    def owner(self, owner: int) -> int:
        """Return the name of an object, a new one if it has none; the name of no object is -1."""
        if owner < 0:
            return -1
        name = self.owner_names.get(owner, -1)
        if name < 0:
            name = len(self.owners) if self.names else owner
            self.owner_names[owner] = name
            self.owners.append(owner)
        return name

    def value(self, value: int) -> int:
        """Return the name of a stored value: it matters only whether two values are equal."""
        if not self.names:
            return value
        name = self.values.get(value, -1)
        if name < 0:
            name = self.values[value] = len(self.values)
        return name

    def entry(self, entry: int) -> int:
        """Return a page-table entry with its frame renamed, or a swap entry as it is; 0 when all bits are clear."""
        if not entry:
            return 0
        known = flags_of(entry)
        if entry & SWAP and is_swap(entry):
            return known
        return known & ~FRAME_MASK | self.frame(known & FRAME_MASK)

    def version(self, version: int) -> int:
        """Return a version of a page in the new names."""
        frame = self.frame(version >> PLACE_AT & FRAME_MASK)
        return (
            (self.owner(version >> OBJECT_AT) << 2 | key_of(version)) << 6 | frame
        ) << PLACE_AT | version & GRANTS
