"""Whole scenarios on QEMU's MMU: a machine whose translations are QEMU's.

The oracle reads a mirror in `tlb` and `psc`: each entry that a walk of QEMU was seen to use or cache, until an
instruction or a fault drops it as the manual says. QEMU never holds more than the mirror; if it holds less (it has no
upper cache at all, conform.qemu.known), a processor may still hold the entry. So the white-box forms of C3, C4 and C6
are judged by the entries that a processor may still hold, and every access by what QEMU shows.

QEMU has no spurious fault and no broadcast: INVLPGB is carried out at the wait, by an INVLPG on each processor. The
other switches of a scenario say what a processor may do, and do not change QEMU. A speculative fill is a load or a
fetch whose result is not used.
"""

from typing import Never

from shootdown.machine.caches import GLOBAL_TAG, TAG_AT, TRANSLATION, UPPER, UPPER_AT
from shootdown.machine.entry import EXEC, NX, PRESENT, PSE, READ, RW
from shootdown.machine.geometry import FANOUT, FRAME_MASK, frame_of
from shootdown.machine.qemu.mmu import MmuError
from shootdown.machine.qemu.processors import Processors
from shootdown.machine.tlb_entry import INCARNATION_AT
from shootdown.machine.x86 import NO_ROOT, Machine


class QemuMachine(Machine):
    """The machine protocol over QEMU's MMU.

    Errors: Unusable, when there is no unicorn; MmuError, when QEMU's MMU does what no processor does.
    """

    def __init__(self, cpus: int, *, invlpgb: bool = False, **_chosen: bool) -> None:
        """Start processors with empty TLBs and no page table."""
        # The mirror has pieces of 4 KiB, as QEMU's TLB has, and QEMU has one TLB for loads and fetches.
        super().__init__(cpus, invlpgb=invlpgb, fractured=True)
        self._qemu = Processors(cpus)
        self._allowed = [0] * cpus
        """The PKRU that QEMU has."""
        self._walked: list[dict[int, int]] = [{} for _ in range(cpus)]
        """The entry of QEMU's last walk, by `pcid << 4 | page`."""

    def copy(self) -> Never:
        """Refuse to copy, because the caches of QEMU cannot be copied.

        Errors: TypeError, always.
        """
        raise TypeError("QEMU's caches cannot be copied")

    # Translation.

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate one user-mode access by QEMU; return the same as Machine.access.

        The incarnation of the entry is that of the walk from which QEMU has it.
        """
        if self.pkru[cpu] != self._allowed[cpu]:
            self._allowed[cpu] = self.pkru[cpu]
            self._qemu.write_pkru(cpu, self.pkru[cpu])
        shown = self._qemu.access(cpu, page, kind, self.memory, probe=True)
        place = self.pcid[cpu] << TAG_AT | page
        if shown < 0:
            tlb = self.tlb[cpu]
            if place in tlb or GLOBAL_TAG << TAG_AT | page in tlb:
                self._drop_faulting(cpu, page)
            else:
                # As in Machine: if nothing of the page was cached, the other pieces of its 2 MiB stay.
                self.psc[cpu].pop(self.pcid[cpu] << UPPER_AT | page >> 2, None)
            return shown
        if self._qemu.walked(cpu):
            self._walked[cpu][place] = self._mirror(cpu, page)
        entry = self._walked[cpu].get(place, -1)
        if entry >> INCARNATION_AT & FRAME_MASK != shown:
            raise MmuError(f"QEMU's MMU went to frame {shown}, where no walk has led.")
        return entry

    def _mirror(self, cpu: int, page: int) -> int:
        """Put the entry of QEMU's last walk into the mirror, and return it."""
        if self.issued[cpu]:
            self._carry_out(cpu, page >> 2)
        upper = self.memory[self.cr3[cpu] << 2 | page >> 2]
        huge = upper & PSE
        leaf = upper
        if not huge:
            leaf = self.memory[frame_of(upper) << 2 | page % FANOUT]
            self.psc[cpu][self.pcid[cpu] << UPPER_AT | page >> 2] = upper
        return self._insert(cpu, page, leaf, leaf & upper & RW, (leaf | upper) & NX, huge, 0)

    def fill(self, cpu: int, page: int, fetch: int = 0) -> None:
        """Fill speculatively, by a load or fetch without a use, if the mirror has no translation of the page."""
        tag = self.pcid[cpu] << TAG_AT
        if self.cr3[cpu] == NO_ROOT or tag | page in self.tlb[cpu]:
            return
        if self.access(cpu, page, EXEC if fetch else READ) < 0:
            # An upper entry may be cached although no valid leaf lies below it (SDM 4.10.3).
            upper = self.memory[self.cr3[cpu] << 2 | page >> 2]
            if upper & PRESENT and not upper & PSE:
                self.psc[cpu][self.pcid[cpu] << UPPER_AT | page >> 2] = upper

    # What drops.

    def evict(self, cpu: int, page: int, what: int = TRANSLATION) -> None:
        """Drop cached entries of a page; QEMU drops all of them in any case, and has none that UPPER names."""
        super().evict(cpu, page, what)
        if what != UPPER:
            self._qemu.invlpg(cpu, page)

    def invlpg(self, cpu: int, page: int) -> None:
        """Execute INVLPG."""
        super().invlpg(cpu, page)
        self._qemu.invlpg(cpu, page)

    def invpcid_page(self, cpu: int, pcid: int, page: int) -> None:
        """Drop one page of one PCID."""
        super().invpcid_page(cpu, pcid, page)
        self._qemu.invpcid_page(cpu, pcid, page)

    def invpcid_context(self, cpu: int, pcid: int) -> None:
        """Drop everything of one PCID."""
        super().invpcid_context(cpu, pcid)
        self._qemu.invpcid_context(cpu, pcid)

    def invpcid_all(self, cpu: int, *, globals_too: bool) -> None:
        """Drop everything of every PCID."""
        super().invpcid_all(cpu, globals_too=globals_too)
        self._qemu.drop_all(cpu)

    def toggle_pge(self, cpu: int) -> None:
        """Drop everything."""
        super().toggle_pge(cpu)
        self._qemu.drop_all(cpu)

    def load_cr3(self, cpu: int, root: int, pcid: int, *, noflush: bool) -> None:
        """Load a page table."""
        super().load_cr3(cpu, root, pcid, noflush=noflush)
        self._qemu.load_cr3(cpu, root, pcid, noflush=True)
