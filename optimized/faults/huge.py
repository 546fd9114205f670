"""Faults in the handling of huge pages."""

from optimized.strategy import GatherFlush


class NoneInBetween(GatherFlush):
    """A huge PMD is taken out as none while its protection changes (before ced108037c2a)."""

    def huge_invalid(self, pmd: int) -> int:
        return 0
