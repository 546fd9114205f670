"""Seeded faults as policies."""

from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized import rules
from shootdown.optimized.policy import Fault, NeedFlush, Policy
from shootdown.optimized.strategy import GatherFlush


def seed(
    name: str,
    fault: Fault,
    *,
    strategy: type[GatherFlush] = GatherFlush,
    needs_flush: NeedFlush = rules.linux,
    huge_needs_flush: NeedFlush = rules.linux_huge,
    handler: FaultHandler = FaultHandler.LINUX,
    report_spurious: bool = False,
    soft_dirty_check: bool = True,
) -> Policy:
    """Return the policy of a fault in the newest Linux rule or machinery."""
    return Policy(
        name=name,
        needs_flush=needs_flush,
        summary=fault.mechanism.split(": ")[0],
        source=fault.origin,
        huge_needs_flush=huge_needs_flush,
        huge_inline=False,
        handler=handler,
        report_spurious=report_spurious,
        soft_dirty_check=soft_dirty_check,
        strategy=strategy,
        fault=fault,
    )
