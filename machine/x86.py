"""The simulated x86-64 processor: page walks and accesses, over the caches and the instructions of machine.caches.

The hardware is adversarial: a cached translation stays until an instruction, a page fault or an eviction record
removes it, and nothing else removes it (SDM 4.10.2.3: the processor may keep an entry for ever).
Speculation happens only when a scenario says so.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from shootdown.machine.caches import FETCH, GLOBAL_TAG, HUGE_KEY, TAG_AT, UPPER_AT, Caches
from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    EXEC,
    GLOBAL,
    NX,
    PKEY,
    PKEY_SHIFT,
    PRESENT,
    PSE,
    READ,
    RW,
    USER,
    WRITE,
)
from shootdown.machine.geometry import FANOUT, FRAME_MASK, FRAMES
from shootdown.machine.pkru import denies
from shootdown.machine.tlb_entry import (
    GENERATION_AT,
    INCARNATION_AT,
    TLB_GLOBAL,
    TLB_NX,
    TLB_PIECE,
    TLB_PKEY,
    TLB_PKEY_AT,
    tlb_key,
)

PF_PROT: Final = 1
"""The bit of the page-fault error code for a translation that was present and whose rights denied the access."""
PF_WRITE: Final = 2
PF_USER: Final = 4
PF_INSTR: Final = 16
PF_PK: Final = 32
"""The bit for a key of the translation that denied the access, even if something else denied it too (SDM 4.7)."""
_ERROR: Final = {READ: PF_USER, WRITE: PF_USER | PF_WRITE, EXEC: PF_USER | PF_INSTR}

NO_ROOT: Final = -1
POISON_FREE: Final = 0x6B6B6B6B6B6B6B00
POISON_ALLOC: Final = 0x5A5A5A5A5A5A5A00
# Both patterns have PRESENT clear: a stale walk through a poisoned table faults instead of inventing a frame.


@mypyc_attr(allow_interpreted_subclasses=True)
class Machine(Caches):
    """Processors with private TLBs over one physical memory.

    `memory[frame * 4 + i]`: the 64-bit word i of a frame: entry i of a page table, or, for i = 0, the content of a data
    page.
    """

    def __init__(
        self,
        cpus: int,
        known: "Machine | None" = None,
        /,
        *,
        amd: bool = False,
        stray_dirty: bool = False,
        blind_dirty: bool = False,
        invlpgb: bool = False,
        split_tlb: bool = False,
        fractured: bool = False,
    ) -> None:
        """Start `cpus` processors with empty TLBs and no page table loaded, or continue from `known`.

        `amd`: a denied access walks the tables in memory again before it faults (APM vol. 2 section 5.5).
        `stray_dirty`: a write that races with the clearing of RW may leave DIRTY set (before CET, SDM 4.8).
        `blind_dirty`: setting DIRTY through a clean cached entry does not check the entry in memory again; no x86 does
        so, and the switch exists to show what relies on the second walk.
        `invlpgb`: the processor says that it has broadcast invalidation (machine.caches).
        `split_tlb`: loads and stores have one TLB, instruction fetches another.
        `fractured`: a leaf of 2 MiB is cached in pieces of 4 KiB.
        """
        super().__init__(cpus, known, split_tlb=split_tlb, fractured=fractured)
        self.amd = amd
        self.has_invlpgb = invlpgb
        self.stray_dirty = stray_dirty
        self.blind_dirty = blind_dirty
        self.memory: list[int] = known.memory.copy() if known else [POISON_FREE] * (FRAMES * FANOUT)
        self.generation: list[int] = known.generation.copy() if known else [0] * FRAMES
        self.cr3: list[int] = known.cr3.copy() if known else [NO_ROOT] * cpus
        # At first all keys allow everything; Linux starts a thread with all keys except 0 denied.
        self.pkru: list[int] = known.pkru.copy() if known else [0] * cpus

    def copy(self) -> "Machine":
        """Return an equal machine that shares no mutable state with this one."""
        if type(self) is not Machine:
            return super().copy()
        return Machine(
            0,
            self,
            amd=self.amd,
            stray_dirty=self.stray_dirty,
            blind_dirty=self.blind_dirty,
            invlpgb=self.has_invlpgb,
            split_tlb=self.split_tlb,
            fractured=self.fractured,
        )

    # Translation.

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate one user-mode access; return the TLB entry that it used, or minus the page-fault error code.

        `kind`: READ, WRITE or EXEC.
        A hit uses the cached frame even if memory has changed since (linux-tlb D.3 rule 2).
        A fault removes the page's entries and the paging-structure entry used for it (SDM 4.10.4.1).
        """
        tlb = self.tlb[cpu]
        tag = self.pcid[cpu] << TAG_AT
        if kind == EXEC and self.split_tlb:
            tag |= FETCH
        key = tag | page
        entry = tlb.get(key)
        if entry is None:
            key = tag | HUGE_KEY | page >> 2
            entry = tlb.get(key)
            if entry is None and self.has_global:
                tag = GLOBAL_TAG << TAG_AT | tag & FETCH
                key = tag | page
                entry = tlb.get(key)
                if entry is None:
                    key = tag | HUGE_KEY | page >> 2
                    entry = tlb.get(key)
        if entry is None:
            guessed = self.amd and self.pcid[cpu] << UPPER_AT | page >> 2 in self.psc[cpu]
            result = self._walk(cpu, page, kind)
            # The walk that confirms a fault uses no cached upper entry (APM 5.5); the denied one has just dropped it.
            return self._walk(cpu, page, kind) if result < 0 and guessed else result
        if entry & TLB_PKEY and denies(self.pkru[cpu], tlb_key(entry), kind):
            return self._denied(cpu, page, kind, PF_PROT | PF_PK)
        if kind == READ or (not entry & TLB_NX if kind == EXEC else entry & RW):
            if kind == WRITE and not entry & DIRTY:
                return self._dirty_assist(cpu, page, key, entry)
            return entry + ((page & 3) << INCARNATION_AT) if key & HUGE_KEY else entry
        return self._denied(cpu, page, kind, PF_PROT)

    def _denied(self, cpu: int, page: int, kind: int, why: int) -> int:
        """Drop the entry that denies an access, and fault; on AMD only if another walk does not translate the access
        (linux-tlb D.3 rule 4).

        If there is no fault, other pieces of the leaf and the entries of the other TLB stay.
        """
        if self.amd:
            self._drop_denying(cpu, page, kind)
            result = self._walk(cpu, page, kind)
            if result >= 0:
                return result
            self._drop_faulting(cpu, page)
            return result
        self._drop_faulting(cpu, page)
        return -(_ERROR[kind] | why)

    def _drop_denying(self, cpu: int, page: int, kind: int) -> None:
        """Drop the entries of the page that an access of this kind could use, so that a walk reads memory."""
        tlb = self.tlb[cpu]
        side = FETCH if kind == EXEC and self.split_tlb else 0
        for tag in (side | self.pcid[cpu] << TAG_AT, side | GLOBAL_TAG << TAG_AT):
            tlb.pop(tag | page, None)
            tlb.pop(tag | HUGE_KEY | page >> 2, None)
        self.psc[cpu].pop(self.pcid[cpu] << UPPER_AT | page >> 2, None)

    def _walk(self, cpu: int, page: int, kind: int) -> int:
        """Walk the tables for an access that no TLB entry translates; fill the TLB and set A (and D) on success.

        A fault drops the paging-structure entry that the walk used; no other entry exists that it could drop.
        """
        root = self.cr3[cpu]
        if root < 0:
            return -_ERROR[kind]
        memory = self.memory
        psc = self.psc[cpu]
        psc_key = self.pcid[cpu] << UPPER_AT | page >> 2
        at = root << 2 | page >> 2
        upper = psc.get(psc_key)
        if upper is None:
            upper = memory[at]
            if not upper & PRESENT:
                return -_ERROR[kind]
            if self.issued[cpu]:
                self._carry_out(cpu, page >> 2)
            if not upper & PSE:
                memory[at] = upper | ACCESSED
                psc[psc_key] = upper
        huge = upper & PSE
        if not huge:
            at = ((upper >> 19) & 60 | (upper >> 12) & 3) << 2 | page & 3
        leaf = memory[at]
        writable = leaf & upper & RW
        no_execute = (leaf | upper) & NX
        if not leaf & upper & USER or not leaf & PRESENT:
            psc.pop(psc_key, None)
            return -(_ERROR[kind] | leaf & PRESENT)
        if leaf & PKEY and denies(self.pkru[cpu], leaf >> PKEY_SHIFT & 3, kind):
            psc.pop(psc_key, None)
            return -(_ERROR[kind] | PF_PROT | PF_PK)
        if (kind == WRITE and not writable) or (kind == EXEC and no_execute):
            psc.pop(psc_key, None)
            return -(_ERROR[kind] | PF_PROT)
        leaf |= ACCESSED | DIRTY if kind == WRITE else ACCESSED
        memory[at] = leaf
        side = FETCH if kind == EXEC and self.split_tlb else 0
        return self._insert(cpu, page, leaf, writable, no_execute, huge, side)

    def _insert(
        self, cpu: int, page: int, leaf: int, writable: int, no_execute: int, huge: int, side: int
    ) -> int:
        """Cache a translation of the loaded PCID, or a global one; return the entry of the page of 4 KiB.

        `side`: FETCH for the TLB of instruction fetches, 0 for that of loads and stores (linux-tlb D.3 rule 9).
        """
        frame = (leaf >> 19) & 60 | (leaf >> 12) & 3
        if huge:
            frame &= ~3
        entry = (
            (self.generation[frame] << GENERATION_AT | frame) << INCARNATION_AT
            | writable
            | leaf & (USER | DIRTY)
        )
        if no_execute:
            entry |= TLB_NX
        if leaf & PKEY:
            entry |= leaf >> PKEY_SHIFT - TLB_PKEY_AT & TLB_PKEY
        tag = side | self.pcid[cpu] << TAG_AT
        if leaf & GLOBAL:
            entry |= TLB_GLOBAL
            tag = side | GLOBAL_TAG << TAG_AT
            self.has_global = True
        if huge and self.fractured:
            entry = entry + ((page & 3) << INCARNATION_AT) | TLB_PIECE
        elif huge:
            self.tlb[cpu][tag | HUGE_KEY | page >> 2] = entry
            return entry + ((page & 3) << INCARNATION_AT)
        self.tlb[cpu][tag | page] = entry
        return entry

    def _dirty_assist(self, cpu: int, page: int, key: int, entry: int) -> int:
        """Set DIRTY for a write that hit a clean writable entry.

        The processor walks again, with a locked update at the end: if the walk no longer permits the write, or leads to
        another frame or to a leaf of another size, the cached entry is dropped and the write faults (linux-tlb D.3 rule
        3).
        Both levels must permit it, as in any walk (SDM 4.6.1, 4.8); the walk may use a cached upper entry (APM vol. 2
        section 5.5).
        Like any walk, it sets A in the entries that it uses (SDM 4.8); a store through a dirty entry does not.
        """
        memory = self.memory
        huge = bool(key & HUGE_KEY) or bool(entry & TLB_PIECE)
        upper = self.psc[cpu].get(self.pcid[cpu] << UPPER_AT | page >> 2)
        at = self.cr3[cpu] << 2 | page >> 2
        is_read = upper is None
        if upper is None:
            upper = memory[at]
        small = bool(upper & PRESENT) and not upper & PSE
        if small and is_read:
            memory[at] = upper | ACCESSED
        if small:
            at = ((upper >> 19) & 60 | (upper >> 12) & 3) << 2 | page & 3
        leaf = memory[at] if small else upper
        frame = (leaf >> 19) & 60 | (leaf >> 12) & 3
        if not small:
            frame = frame & ~3 | (0 if key & HUGE_KEY else page & 3)
        same = leaf & PRESENT and frame == entry >> INCARNATION_AT & FRAME_MASK and small != huge
        key_denies = leaf & PKEY and denies(self.pkru[cpu], leaf >> PKEY_SHIFT & 3, WRITE)
        permits = leaf & upper & RW and leaf & upper & USER and not key_denies
        if self.blind_dirty or (same and permits):
            if same:
                memory[at] = leaf | ACCESSED | DIRTY
            entry |= DIRTY
            self.tlb[cpu][key] = entry
            return entry + ((page & 3) << INCARNATION_AT) if key & HUGE_KEY else entry
        if same and self.stray_dirty:
            memory[at] = leaf | DIRTY
        why = (PF_PROT | PF_PK if key_denies else PF_PROT) if leaf & PRESENT else 0
        return self._denied(cpu, page, WRITE, why)

    # Speculation, which the hardware may do at any time.

    def fill(self, cpu: int, page: int, fetch: int = 0) -> None:
        """Fill speculatively, if the tables permit any access to the page.

        `fetch`: not 0 for the TLB of instruction fetches, if there are two.

        A fill never sets D (APM 5.5) and never faults (linux-tlb D.3 rule 1).
        The paging-structure entry may be cached although no valid leaf lies below it (SDM 4.10.3).
        """
        side = FETCH if fetch and self.split_tlb else 0
        tag = side | self.pcid[cpu] << TAG_AT
        tlb = self.tlb[cpu]
        root = self.cr3[cpu]
        if root < 0 or tag | page in tlb or tag | HUGE_KEY | page >> 2 in tlb:
            return
        memory = self.memory
        psc_key = self.pcid[cpu] << UPPER_AT | page >> 2
        upper = self.psc[cpu].get(psc_key)
        at = root << 2 | page >> 2
        if upper is None:
            upper = memory[at]
            if not upper & PRESENT:
                return
            if self.issued[cpu]:
                self._carry_out(cpu, page >> 2)
            if not upper & PSE:
                memory[at] = upper | ACCESSED
                self.psc[cpu][psc_key] = upper
        huge = upper & PSE
        if not huge:
            at = ((upper >> 19) & 60 | (upper >> 12) & 3) << 2 | page & 3
        leaf = memory[at]
        if leaf & PRESENT and leaf & upper & USER:
            memory[at] = leaf | ACCESSED
            writable = leaf & RW & upper
            self._insert(cpu, page, leaf, writable, (leaf | upper) & NX, huge, side)

    # Registers.

    def load_cr3(self, cpu: int, root: int, pcid: int, *, noflush: bool) -> None:
        """Load a page table; without `noflush` (bit 63) drop the PCID's non-global entries."""
        self.cr3[cpu] = root
        self.pcid[cpu] = pcid
        if not noflush:
            self.invpcid_context(cpu, pcid)

    # Entries in memory.

    def read_entry(self, frame: int, index: int) -> int:
        """Return entry `index` of the table in `frame`."""
        return self.memory[frame << 2 | index]

    def write_entry(self, frame: int, index: int, entry: int) -> None:
        """Store entry `index` of the table in `frame`; no cached translation changes (linux-tlb D.3 rule 7)."""
        self.memory[frame << 2 | index] = entry

    def poison(self, frame: int, pattern: int) -> None:
        """Fill a frame with a pattern, so that a stale access becomes visible."""
        at = frame << 2
        self.memory[at : at + FANOUT] = [pattern] * FANOUT
