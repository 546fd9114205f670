"""Faults between lockless walkers and who takes page tables away, where a flush does not wait for the walkers."""

from shootdown.optimized.paravirt import ParavirtFlush


class CollapseWithoutSync(ParavirtFlush):
    """A collapse frees the page table at once, and sends no interrupt to those who walk it (before 2ba99c5e0881)."""

    def collapse_syncs(self) -> bool:
        return False

    def collapse_defers_free(self) -> bool:
        return False


class PmdUnchecked(ParavirtFlush):
    """Only the PTE is compared behind the reference, and a collapse leaves its entries there (before 70cbc3cc78a9).

    Nothing but the walker's own check stood between it and the collapse in those days; the table was deposited, so a
    walker never read a freed one.
    """

    def collapse_syncs(self) -> bool:
        return False

    def pmd_checked_again(self) -> bool:
        return False
