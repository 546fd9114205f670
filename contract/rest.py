"""The check of a world with nothing in flight: the pages show the effects of the calls, and nothing is left over.

It has its own walk over the page tables, and its own count of every reference; it reads only the plain state of mm/
(mm.state.State), and calls none of its functions.
"""

from typing import Final

from shootdown.contract.contents import DRIVER, FILE, PRIVATE
from shootdown.contract.contract import CONTENT, FINE, Contract
from shootdown.contract.pages import NO, YES
from shootdown.contract.regions import (
    ANY_KIND,
    KEY,
    KEY_AT,
    MAPPED,
    READ_IMPLIED,
    REGISTERED,
    region_of,
)
from shootdown.machine.entry import (
    EXEC,
    NX,
    PKEY_SHIFT,
    PRESENT,
    PROTNONE,
    PSE,
    READ,
    RW,
    SOFTW1,
    SWAP,
    SWP_UFFD_WP,
    UFFD_WP,
    UFFD_WP_MARKER,
)
from shootdown.machine.geometry import FANOUT, FRAMES, PAGES, frame_of
from shootdown.mm.state import (
    MMS,
    NOBODY,
    VM_MAPPED,
    VM_PKEY,
    VM_PKEY_SHIFT,
    VM_RIGHTS,
    VM_UFFD_WP,
    State,
)

REGION: Final = "region-not-of-calls"
ENTRY: Final = "entry-beyond-region"
LEAKED: Final = "frame-leaked"
IN_USE: Final = "free-frame-in-use"
MISCOUNTED: Final = "reference-miscounted"
LOCKED: Final = "lock-left-held"
NEVER_RETURNS: Final = "call-never-returns"
RMAP: Final = "rmap-differs-from-tables"
PKRU: Final = "pkru-not-of-thread"

_NOTHING: Final = -1
"""The content of a page that no access can reach, because a call has left its entry half done."""
_IN_USE: Final = PRESENT | PROTNONE
_HUGE_ONLY: Final = PSE | 3 << 12
"""The bits of a leaf of 2 MiB that the entry of one of its pages does not have: the size, and two below its frame."""
_COMPARED: Final = ANY_KIND | READ_IMPLIED | KEY | MAPPED | REGISTERED
_REGIONS: Final[dict[int, int]] = {}
"""The results of `_region_of`."""


def at_rest(w: State, contract: Contract) -> tuple[str, int]:
    """Return the first defect of a world with nothing in flight, and its slot; FINE if there is none."""
    if locks_held(w):
        return LOCKED, 0
    if max(w.op) >= 0:
        return NEVER_RETURNS, 0
    return Census(w).judge(contract)


def locks_held(w: State) -> bool:
    """Return whether a lock is held, interrupts are disabled or a walk is in progress."""
    return bool(
        any(w.mmap_lock)
        or max(w.pmd_lock) != NOBODY
        or max(w.ptl) != NOBODY
        or w.page_lock
        or w.i_mmap_lock
        or w.walkers
        or True in w.irqs_off
    )


class Census:
    """A walk over the tables of every address space, which counts references and compares entries with the contract."""

    __slots__ = ("entries", "memory", "refs", "rmap", "w")

    def __init__(self, w: State) -> None:
        self.w = w
        self.memory = w.machine.memory
        # By frame: the number of references that it should have.
        self.refs = [0] * FRAMES
        # By slot of the swap area: the number of entries that name it.
        self.entries: dict[int, int] = {}
        # By mm * PAGES + page: the frame of the file that is mapped there.
        self.rmap: dict[int, int] = {}

    def judge(self, contract: Contract) -> tuple[str, int]:
        """Return the first defect, and its slot."""
        w = self.w
        for mm, root in enumerate(w.root):
            if root >= 0:
                found = self._space(contract, mm, root)
                if found is not None:
                    return found
        if (w.pkru or contract.pkru) and self._is_pkru_wrong(contract):
            return PKRU, 0
        self._count_others()
        if self.rmap != w.rmap:
            return RMAP, min(key for key, _ in self.rmap.items() ^ w.rmap.items())
        return self._frames()

    def _space(self, contract: Contract, mm: int, root: int) -> tuple[str, int] | None:
        w, memory, refs = self.w, self.memory, self.refs
        refs[root] += 1
        vmas = w.vma[mm]
        regions = contract.region
        slot = mm * PAGES
        table = upper = leaf = 0
        for page in range(w.pages):
            if not page & 3:
                upper = memory[root << 2 | page >> 2]
                table = -1
                if upper & PSE:
                    if upper & _IN_USE:
                        start = frame_of(upper) & ~3
                        for frame in range(start, start + FANOUT):
                            refs[frame] += 1
                elif upper:
                    table = frame_of(upper)
                    refs[table] += 1
            if table >= 0:
                leaf = memory[table << 2 | page & 3]
                if leaf:
                    self._count_leaf(slot, leaf)
            elif upper:
                leaf = upper & ~_HUGE_ONLY | (page & 3) << 12
            else:
                leaf = 0
            region = regions[slot]
            vma = vmas[page]
            if region or vma:
                if region & _COMPARED != _region_of(vma):
                    return REGION, slot
                reason = self._compare(contract, slot, region, leaf)
                if reason:
                    return reason, slot
            elif leaf:
                return ENTRY, slot
            slot += 1
        return None

    def _count_leaf(self, slot: int, leaf: int) -> None:
        """Count the reference of an entry of 4 KiB; a special entry has none."""
        if leaf & _IN_USE:
            if not leaf & SOFTW1:
                frame = frame_of(leaf)
                self.refs[frame] += 1
                if self.w.file_frames >> frame & 1:
                    self.rmap[slot] = frame
        elif leaf & SWAP:
            place = frame_of(leaf)
            self.entries[place] = self.entries.get(place, 0) + 1

    def _compare(self, contract: Contract, slot: int, region: int, leaf: int) -> str:
        """Compare the entry of a page with its region, and the value of a load with those that the calls allow."""
        if leaf & PRESENT:
            granted = READ | leaf & RW | (0 if leaf & NX else EXEC)
            if granted & ~region or leaf >> PKEY_SHIFT & 0xF != (region & KEY) >> KEY_AT:
                return ENTRY
        if region & REGISTERED and contract.mark.get(slot, NO) == YES and not _traps(leaf):
            return ENTRY
        register = contract.register[slot]
        shown = self.memory[frame_of(leaf) << 2] if leaf & _IN_USE else self._shown(register, leaf)
        if register in contract.unsettled:
            return FINE if contract.shows(register, shown) else CONTENT
        return FINE if contract.value.get(register, 0) == shown else CONTENT

    def _shown(self, register: int, leaf: int) -> int:
        """Return the value that a load would show of a page that no entry maps."""
        w, memory = self.w, self.memory
        if leaf & SWAP:
            place = frame_of(leaf)
            frame = w.swap_cache.get(place, -1)
            return memory[frame << 2] if frame >= 0 else w.swap.get(place, _NOTHING)
        if leaf and leaf != UFFD_WP_MARKER:
            return _NOTHING
        if register >= PRIVATE:
            return 0
        if register >= DRIVER:
            frame = w.driver.get(register - DRIVER, -1)
            return memory[frame << 2] if frame >= 0 else 0
        frame = w.shared[register]
        if frame >= 0:
            return memory[frame << 2]
        return w.disk.get(register, 0) if register >= FILE else 0

    def _count_others(self) -> None:
        """Count the references from outside the page tables of address spaces."""
        w, memory, refs = self.w, self.memory, self.refs
        for frame in w.shared:
            if frame >= 0:
                refs[frame] += 1
        for frame in w.swap_cache.values():
            refs[frame] += 1
        for frame in w.driver.values():
            refs[frame] += 1
        for _, root in w.gone:
            refs[root] += 1
        if w.huge_zero >= 0:
            for frame in range(w.huge_zero, w.huge_zero + FANOUT):
                refs[frame] += 1
        if w.poking >= 0:
            table = frame_of(memory[w.poking << 2])
            for frame in (w.poking, table, frame_of(memory[table << 2])):
                refs[frame] += 1

    def _is_pkru_wrong(self, contract: Contract) -> bool:
        """Return whether the PKRU of a thread, or the one that its CPU has loaded, differs from what it has written."""
        w = self.w
        for cpu in range(w.cpus):
            for mm in range(MMS):
                if w.pkru.get(cpu * MMS + mm, 0) != contract.pkru.get((cpu, mm), 0):
                    return True
            if w.machine.pkru[cpu] != w.pkru.get(cpu * MMS + w.task_mm[cpu], 0):
                return True
        return False

    def _frames(self) -> tuple[str, int]:
        """Compare the references with those that mm/ has counted, and with the free frames."""
        w = self.w
        if self.refs != w.refs:
            for counted, found in zip(w.refs, self.refs, strict=True):
                if bool(counted) != bool(found):
                    return (IN_USE if found else LEAKED), 0
            return MISCOUNTED, 0
        if w.free_frames.bit_count() + len(self.refs) - self.refs.count(0) != FRAMES - 1:
            return LEAKED, 0
        if self.entries != w.swap_map:
            return MISCOUNTED, 0
        left = w.swap and w.swap.keys() - w.swap_map.keys() - w.swap_cache.keys()
        return (LEAKED, 0) if left else (FINE, 0)


def _region_of(vma: int) -> int:
    """Return the region that mm/ keeps, in the form of the contract."""
    known = _REGIONS.get(vma)
    if known is None:
        known = 0
        if vma & VM_MAPPED:
            known = region_of(vma & VM_RIGHTS) | (vma & VM_PKEY) >> VM_PKEY_SHIFT << KEY_AT
            known |= REGISTERED if vma & VM_UFFD_WP else 0
        _REGIONS[vma] = known
    return known


def _traps(leaf: int) -> bool:
    """Return whether a store to the page would be reported to userfaultfd."""
    if leaf & _IN_USE:
        return leaf & (RW | UFFD_WP) == UFFD_WP
    return leaf == UFFD_WP_MARKER or leaf & (SWAP | SWP_UFFD_WP) == SWAP | SWP_UFFD_WP
