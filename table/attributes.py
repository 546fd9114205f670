"""A processor that remembers the memory type and the protection key with which it cached a translation.

A Machine caches no memory type, because no operation of `mm/` changes one; of a key it caches only the bits that
regions use. A need-flush rule is asked about all of these bits.
"""

from typing import Final

from shootdown.machine.caches import FETCH, GLOBAL_TAG
from shootdown.machine.entry import EXEC, PAT, PAT_LARGE, PCD, PKEY, PRESENT, PSE, PWT
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.machine.x86 import Machine
from shootdown.run.oracle import Violation

STALE_ATTRIBUTES: Final = "stale-attributes"
"""Reason: an access used a memory type or a protection key that the entry no longer has. It breaks C1 if these
attributes count as a part of what a translation grants: a change revokes the old ones (SDM 4.9, 4.6.2).
"""

_SMALL: Final = PWT | PCD | PAT | PKEY
_LARGE: Final = PWT | PCD | PAT_LARGE | PKEY


class AttributeMachine(Machine):
    """A Machine on which an access raises Violation when it uses attributes that the entry in memory no longer has.

    Its violations count only while no change is in flight: then no older attributes are allowed (SDM 4.10.4.4).
    """

    def __init__(self, cpus: int, **chosen: bool) -> None:
        """Make a machine as Machine does."""
        super().__init__(cpus, **chosen)
        self.attributes: list[dict[int, int]] = [{} for _ in range(cpus)]

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate as Machine does.

        Errors: Violation, when the translation used has other attributes than the entry in memory.
        """
        result = super().access(cpu, page, kind)
        if result >= 0:
            leaf, huge = self._leaf(cpu, page)
            frame = frame_of(leaf) & ~3 | page & 3 if huge else frame_of(leaf)
            # The oracle handles a different frame, or a missing one.
            if leaf & PRESENT and frame == result >> 8 & 63:
                side = FETCH if kind == EXEC and self.split_tlb else 0
                held = self.attributes[cpu][self._key_used(cpu, page, side)]
                if held != leaf & (_LARGE if huge else _SMALL):
                    raise Violation(STALE_ATTRIBUTES, page, cpu, kind)
        return result

    def _insert(
        self, cpu: int, page: int, leaf: int, writable: int, no_execute: int, huge: int, side: int
    ) -> int:
        result = super()._insert(cpu, page, leaf, writable, no_execute, huge, side)
        self.attributes[cpu][self._key_used(cpu, page, side)] = leaf & (_LARGE if huge else _SMALL)
        return result

    def _key_used(self, cpu: int, page: int, side: int) -> int:
        """Return the key of the TLB entry that translates the page; it must exist. The search order is that of
        `access`.
        """
        tags = (side | self.pcid[cpu] << 4, side | GLOBAL_TAG << 4)
        keys = (key for tag in tags for key in (tag | page, tag | 8 | page // FANOUT))
        return next(key for key in keys if key in self.tlb[cpu])

    def _leaf(self, cpu: int, page: int) -> tuple[int, int]:
        """Return the entry in memory that translates the page, and whether it maps 2 MiB."""
        upper = self.read_entry(self.cr3[cpu], page // FANOUT)
        if upper & PSE or not upper & PRESENT:
            return upper, upper & PSE
        return self.read_entry(frame_of(upper), page % FANOUT), 0
