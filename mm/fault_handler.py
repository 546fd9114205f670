"""The page-fault handlers of kernels: they differ about an instruction fetch that the hardware has denied."""

from enum import StrEnum
from typing import Final


class FaultHandler(StrEnum):
    """A page-fault handler, by its test of VM_EXEC; the string is its name in policies, tables and reports."""

    LINUX = "linux"
    """The handler of every released kernel: access_error in arch/x86/mm/fault.c, the same in 6.1, 6.12 and 7.3."""
    EXEC_CHECK = "exec-check"
    """The one of "x86/mm: check exec permissions on fault", posted with v2 and v3 of the series and never merged."""


FETCHES: Final = {
    FaultHandler.LINUX: "never asks the region about a fetch and signals one that a stale NX denies",
    FaultHandler.EXEC_CHECK: "asks the region and heals a fetch that a stale NX denies, in no released kernel",
}
"""The behaviour of each handler at a fetch, in words."""
