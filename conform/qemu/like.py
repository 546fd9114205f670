"""The machine restricted to what QEMU's MMU does, so that a scenario shows the same on it as on QemuMachine."""

from shootdown.machine.x86 import Machine


class LikeQemu(Machine):
    """A processor that walks again before it faults, has no upper cache, and caches leaves of 2 MiB in pieces.

    The upper entries that walks have read stay in `psc` for the oracle, but no walk uses them (as in
    machine.qemu.machine). Of a scenario's switches only INVLPGB has an effect here.
    """

    def __init__(self, cpus: int, *, invlpgb: bool = False, **_chosen: bool) -> None:
        """Start as Machine does."""
        super().__init__(cpus, amd=True, invlpgb=invlpgb, fractured=True)

    def access(self, cpu: int, page: int, kind: int) -> int:
        """Translate by walks that read both levels in memory."""
        kept = self.psc[cpu]
        read: dict[int, int] = {}
        self.psc[cpu] = read
        result = super().access(cpu, page, kind)
        self.psc[cpu] = kept
        if result < 0:
            kept.pop(self.pcid[cpu] << 1 | page >> 2, None)
        kept.update(read)
        return result

    def fill(self, cpu: int, page: int, fetch: int = 0) -> None:
        """Fill by a walk that reads both levels in memory."""
        kept = self.psc[cpu]
        read: dict[int, int] = {}
        self.psc[cpu] = read
        super().fill(cpu, page, fetch)
        self.psc[cpu] = kept
        kept.update(read)
