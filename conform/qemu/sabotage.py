"""Machines that each break one rule of the architecture: a comparison that works finds every one of them.

A machine that keeps too much is found where the sequence has one outcome. In the other mode any entry may be dropped,
so it is found only because QEMU has no reason to drop the entry.
"""

from typing import Final

from shootdown.machine.caches import GLOBAL_TAG, TAG_MASK
from shootdown.machine.entry import ACCESSED, DIRTY, EXEC, NX, PRESENT, PSE, READ, RW, USER
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.machine.x86 import PF_INSTR, PF_PK, PF_PROT, PF_WRITE, Machine


class InvlpgDropsNothing(Machine):
    """INVLPG drops nothing."""

    def invlpg(self, cpu: int, page: int) -> None:
        """Drop nothing."""


class FaultKeepsEntry(Machine):
    """A page fault drops nothing."""

    def _drop_faulting(self, cpu: int, page: int) -> None:
        pass


class _OtherError(Machine):
    """An error code with bits of `flipped` changed where those of `where` are set."""

    flipped = 0
    where = 0

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate, and change the error code."""
        result = super().access(cpu, page, kind)
        return -(-result ^ self.flipped) if result < 0 and -result & self.where else result


class InvlpgSparesGlobals(Machine):
    """INVLPG drops no global entry."""

    def invlpg(self, cpu: int, page: int) -> None:
        """Drop the page's entries of the loaded PCID."""
        known, self.has_global = self.has_global, False
        super().invlpg(cpu, page)
        self.has_global = known


class ErrorWithoutP(_OtherError):
    """The error code of a denied access lacks P."""

    flipped = where = PF_PROT


class ErrorWithoutWrite(_OtherError):
    """The error code of a store lacks W."""

    flipped = where = PF_WRITE


class ErrorWithoutFetch(_OtherError):
    """The error code of a fetch lacks I."""

    flipped = where = PF_INSTR


class ErrorWithoutKey(_OtherError):
    """The error code of an access that a key denies lacks PK."""

    flipped = where = PF_PK


class _OtherMarks(Machine):
    """Words of memory that an access has changed get other values."""

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate, and change what the walk has written."""
        before = self.memory.copy()
        result = super().access(cpu, page, kind)
        if self.memory != before:
            for at, old in enumerate(before):
                if self.memory[at] != old:
                    self.memory[at] = self.written(old, self.memory[at], kind)
        return result

    def written(self, old: int, new: int, kind: int) -> int:
        """Return what the walk leaves where it has found `old` and written `new`: `new`, unless a subclass says
        otherwise.
        """
        del old, kind
        return new


class AccessedNotSet(_OtherMarks):
    """A is set nowhere."""

    def written(self, old: int, new: int, kind: int) -> int:
        """Return what the walk leaves: A stays as it was."""
        del kind
        return new & ~ACCESSED | old & ACCESSED


class DirtyOnRead(_OtherMarks):
    """A walk for a load sets D with A."""

    def written(self, old: int, new: int, kind: int) -> int:
        """Return what the walk leaves: a load sets D too."""
        del old
        return new | DIRTY if kind == READ else new


class DirtyNotSet(_OtherMarks):
    """D is set nowhere."""

    def written(self, old: int, new: int, kind: int) -> int:
        """Return what the walk leaves: D stays as it was."""
        del kind
        return new & ~DIRTY | old & DIRTY


class _OtherEntries(Machine):
    """A walk reads other rights in the upper entry and the leaf."""

    upper_set = upper_clear = leaf_set = leaf_clear = 0

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate with other entries in memory, and put the rights back."""
        root = self.cr3[cpu]
        memory = self.memory
        places = []
        if root >= 0:
            at = root << 2 | page >> 2
            upper = memory[at]
            places = [(at, upper, self.upper_set, self.upper_clear)]
            if upper & PRESENT and not upper & PSE:
                leaf_at = frame_of(upper) << 2 | page % FANOUT
                places.append((leaf_at, memory[leaf_at], self.leaf_set, self.leaf_clear))
        for at, old, more, less in places:
            memory[at] = (old | more) & ~less
        result = super().access(cpu, page, kind)
        for at, old, _, _ in places:
            memory[at] = old | memory[at] & (ACCESSED | DIRTY)
        return result


class WritableByLeaf(_OtherEntries):
    """R/W of the upper entry has no effect."""

    upper_set = RW


class WritableByUpper(_OtherEntries):
    """R/W of the leaf has no effect."""

    leaf_set = RW


class UserIgnored(_OtherEntries):
    """U/S has no effect."""

    upper_set = leaf_set = USER


class UpperNxIgnored(_OtherEntries):
    """XD of the upper entry has no effect."""

    upper_clear = NX


class NxIgnored(Machine):
    """XD has no effect."""

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate a fetch as a load."""
        result = super().access(cpu, page, READ if kind == EXEC else kind)
        return -(-result | PF_INSTR) if result < 0 and kind == EXEC else result


class PieceIsFirstFrame(Machine):
    """Each page of a leaf of 2 MiB is its first frame."""

    def _insert(
        self, cpu: int, page: int, leaf: int, writable: int, no_execute: int, huge: int, side: int
    ) -> int:
        entry = super()._insert(cpu, page, leaf, writable, no_execute, huge, side)
        return entry & ~(3 << 8) if huge else entry


class PcidIgnored(Machine):
    """All PCIDs are one."""

    def load_cr3(self, cpu: int, root: int, pcid: int, *, noflush: bool) -> None:
        """Load a page table under PCID 0."""
        del pcid
        super().load_cr3(cpu, root, 0, noflush=noflush)


class NoflushInverted(Machine):
    """Bit 63 of what is loaded into CR3 flushes."""

    def load_cr3(self, cpu: int, root: int, pcid: int, *, noflush: bool) -> None:
        """Load a page table."""
        super().load_cr3(cpu, root, pcid, noflush=not noflush)


class AlwaysNoflush(Machine):
    """MOV to CR3 drops nothing."""

    def load_cr3(self, cpu: int, root: int, pcid: int, *, noflush: bool) -> None:
        """Load a page table."""
        del noflush
        super().load_cr3(cpu, root, pcid, noflush=True)


class InvpcidOfLoaded(Machine):
    """INVPCID type 1 drops the entries of the loaded PCID, whatever PCID it is given."""

    def invpcid_context(self, cpu: int, pcid: int) -> None:
        """Drop everything of a PCID."""
        del pcid
        super().invpcid_context(cpu, self.pcid[cpu])


class InvpcidDropsNothing(Machine):
    """INVPCID type 0 drops nothing."""

    def invpcid_page(self, cpu: int, pcid: int, page: int) -> None:
        """Drop nothing."""


class ContextDropsGlobals(Machine):
    """INVPCID type 1 and MOV to CR3 drop global entries of every PCID."""

    def invpcid_context(self, cpu: int, pcid: int) -> None:
        """Drop everything of a PCID, and what is global."""
        super().invpcid_context(cpu, pcid)
        tlb = self.tlb[cpu]
        for key in [key for key in tlb if key >> 4 & TAG_MASK == GLOBAL_TAG]:
            del tlb[key]


class KeysIgnored(Machine):
    """PKRU has no effect."""

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate with all keys allowed."""
        pkru = self.pkru[cpu]
        self.pkru[cpu] = 0
        result = super().access(cpu, page, kind)
        self.pkru[cpu] = pkru
        return result


class KeyDeniesFetch(Machine):
    """A key denies fetches as it denies loads."""

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate, and once more as a load where a fetch is allowed."""
        result = super().access(cpu, page, kind)
        if kind == EXEC and result >= 0 and super().access(cpu, page, READ) < 0:
            return -(PF_PROT | PF_PK | PF_INSTR | 4)
        return result


class NothingCached(Machine):
    """Each access walks."""

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate with empty caches."""
        self.toggle_pge(cpu)
        return super().access(cpu, page, kind)


class EntrySharedByCpus(Machine):
    """An access of one processor fills the TLB of all."""

    def _insert(
        self, cpu: int, page: int, leaf: int, writable: int, no_execute: int, huge: int, side: int
    ) -> int:
        entry = super()._insert(cpu, page, leaf, writable, no_execute, huge, side)
        for other, tlb in enumerate(self.tlb):
            if other != cpu:
                tlb.update(self.tlb[cpu])
        return entry


class DirtyWithoutWalk(Machine):
    """A store that hits a clean entry does not check the entry in memory."""

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate as no x86 processor does."""
        self.blind_dirty = True
        return super().access(cpu, page, kind)


class StrayDirty(Machine):
    """A store that is refused sets D (processors before CET might do so, SDM vol. 3A 4.8)."""

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate as an old processor may do."""
        self.stray_dirty = True
        return super().access(cpu, page, kind)


SABOTAGES: Final[tuple[type[Machine], ...]] = tuple(
    each
    for each in list(globals().values())
    if isinstance(each, type)
    and issubclass(each, Machine)
    and each.__module__ == __name__
    and not each.__name__.startswith("_")
)
"""Every class of this module except the shared bases, whose names begin with an underscore."""
