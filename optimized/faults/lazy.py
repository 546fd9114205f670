"""Faults in lazy shootdown: what is put off is not looked for."""

from shootdown.mm.world import World
from shootdown.optimized.latr import LatrFlush


class PutOffUnseen(LatrFlush):
    """The end of a gather looks for gathers that are open, and not for flushes that are put off."""

    def is_put_off(self, w: World, mm: int) -> bool:
        return False


class AddressesReused(LatrFlush):
    """Addresses are mapped again while the flush of what was there is put off."""

    def addresses_reused(self, w: World, cpu: int, mm: int) -> None:
        """Flush nothing."""
