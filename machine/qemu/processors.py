"""Processors with QEMU's MMU and the instructions of machine.caches: an instance of Mmu for each PCID that is used.

If QEMU does less than the manual demands, an instruction that does the rest is executed as well: INVLPG for the page
after each page fault (conform.qemu.known).
If it does more, there is no remedy: dropping is always allowed (SDM vol. 3A 4.10.2.3).
"""

from typing import Final

from shootdown.machine.qemu.mmu import FRAMES_OF_ALL, Mmu

_ALL: Final[list[Mmu]] = []
"""All instances: making one takes as long as a thousand accesses, so none is given up.

Without this reference the garbage collector finalizes what unicorn holds before it calls Processors.__del__.
"""
_FREE: Final[list[Mmu]] = []
"""The instances that are not in use."""


def _take() -> Mmu:
    """Return an instance that is not in use, in any state."""
    if _FREE:
        return _FREE.pop()
    mmu = Mmu()
    _ALL.append(mmu)
    return mmu


class Processors:
    """Processors, at first with nothing cached, no page table and all keys allowed.

    `flushed`: the PCIDs of which the last access or invalidation of a page has dropped everything.
    `close` gives their instances back, and so does the end of the object; it must not be used after that.
    """

    def __init__(self, cpus: int) -> None:
        self._mmus: list[dict[int, Mmu]] = [{} for _ in range(cpus)]
        self._pkru = [0] * cpus
        self._pcid = [0] * cpus
        self.flushed: list[int] = []
        for cpu in range(cpus):
            self._mmu(cpu, 0)

    def _mmu(self, cpu: int, pcid: int) -> Mmu:
        """Return the instance of a PCID."""
        mmu = self._mmus[cpu].get(pcid)
        if mmu is None:
            mmu = _take()
            mmu.set_root(-1)
            mmu.flush()
            if mmu.pkru != self._pkru[cpu]:
                mmu.write_pkru(self._pkru[cpu])
            self._mmus[cpu][pcid] = mmu
        return mmu

    def __del__(self) -> None:
        self.close()

    def _invlpg(self, cpu: int, pcid: int, page: int) -> None:
        if self._mmus[cpu][pcid].invlpg(page):
            self.flushed.append(pcid)

    def close(self) -> None:
        """Give the instances back."""
        for mmus in self._mmus:
            _FREE.extend(mmus.values())
            mmus.clear()

    def access(
        self,
        cpu: int,
        page: int,
        kind: int,
        memory: list[int],
        *,
        twice: bool = False,
        probe: bool = False,
    ) -> int:
        """Execute a user-mode access; return the frame, or minus the error code of its page fault (Mmu.access)."""
        self.flushed.clear()
        pcid = self._pcid[cpu]
        result = self._mmus[cpu][pcid].access(page, kind, memory, twice=twice, probe=probe)
        if result < 0:
            self._invlpg(cpu, pcid, page)
        self._invlpg_elsewhere(cpu, page)
        return result

    def fault_address(self, cpu: int) -> int:
        """Return the page that CR2 named at the last fault of the processor, -1 for an address that was not used."""
        return self._mmus[cpu][self._pcid[cpu]].fault_address

    def has_global(self, cpu: int) -> bool:
        """Return whether a global entry may be cached under any PCID of a processor."""
        return any(mmu.has_global for mmu in self._mmus[cpu].values())

    @staticmethod
    def is_clean() -> bool:
        """Return whether QEMU has written only to entries that its walks used (Frames.is_clean)."""
        return FRAMES_OF_ALL.is_clean()

    def walked(self, cpu: int) -> bool:
        """Return whether a walk translated the last access of the loaded PCID, if that had `probe`."""
        return self._mmus[cpu][self._pcid[cpu]].walked

    def invlpg(self, cpu: int, page: int) -> None:
        """Drop the translations of a page in the loaded PCID, and its global entries in all PCIDs."""
        self.flushed.clear()
        self._invlpg(cpu, self._pcid[cpu], page)
        self._invlpg_elsewhere(cpu, page)

    def _invlpg_elsewhere(self, cpu: int, page: int) -> None:
        """Drop a page in every other PCID under which a global entry of it may be cached.

        A processor has one global entry for all PCIDs, so it does not keep it if another PCID has used something else.
        """
        for pcid, mmu in self._mmus[cpu].items():
            if mmu.has_global and pcid != self._pcid[cpu]:
                self._invlpg(cpu, pcid, page)

    def invpcid_page(self, cpu: int, pcid: int, page: int) -> None:
        """Execute INVPCID type 0."""
        self.flushed.clear()
        if pcid in self._mmus[cpu]:
            self._invlpg(cpu, pcid, page)

    def invpcid_context(self, cpu: int, pcid: int) -> None:
        """Execute INVPCID type 1."""
        mmu = self._mmus[cpu].get(pcid)
        if mmu is not None:
            mmu.flush()

    def drop_all(self, cpu: int) -> None:
        """Execute INVPCID type 2 or 3, or a change of CR4.PGE."""
        for mmu in self._mmus[cpu].values():
            mmu.flush()

    def load_cr3(self, cpu: int, root: int, pcid: int, *, noflush: bool) -> None:
        """Load a page table; without `noflush` drop the PCID's entries."""
        mmu = self._mmu(cpu, pcid)
        mmu.set_root(root)
        if not noflush:
            mmu.flush()
        self._pcid[cpu] = pcid

    def write_pkru(self, cpu: int, pkru: int) -> None:
        """Execute WRPKRU, which drops everything in QEMU."""
        self._pkru[cpu] = pkru
        for mmu in self._mmus[cpu].values():
            mmu.write_pkru(pkru)
