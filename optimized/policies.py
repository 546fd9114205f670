"""The registry of policies: every rule and every seeded fault that ships with the tool, by name."""

from typing import Final

from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized import rules
from shootdown.optimized.elsewhere import ELSEWHERE
from shootdown.optimized.faults.catalogue import FAULTS, V1_DEFECT_5
from shootdown.optimized.policy import Policy

RULES: Final[tuple[Policy, ...]] = (
    Policy(
        "always",
        rules.always,
        "every change is flushed, batched per operation",
        "asm-generic/tlb.h: architectures without their own rule",
    ),
    Policy(
        "v1",
        rules.v1,
        "the series as posted in September 2021, under the fault handler that Linux had then and has now",
        "20210925205423.168858-3-namit@vmware.com",
        fault=V1_DEFECT_5,
    ),
    Policy(
        "v3",
        rules.v3,
        "the resend of March 2022, the last that skips promotion: sound only under a handler that was never merged",
        "20220311190749.338281-5-namit@vmware.com",
        huge_needs_flush=rules.v3_huge,
        huge_inline=False,
        handler=FaultHandler.EXEC_CHECK,
        trusts="That the page-fault handler asks the region whether it allows a fetch (VM_EXEC), as with the patch "
        '"x86/mm: check exec permissions on fault" of the same series. No released kernel has that patch: with the '
        "rule alone a promotion to executable ends in SIGSEGV, as in v1.",
    ),
    Policy(
        "linux-5.19",
        rules.linux_5_19,
        "as merged: flushes on any change of RW and NX, skips setting A, D and P, and software bits",
        "c9fe66560bf2, 4f83145721f3",
        huge_needs_flush=rules.linux_5_19_huge,
        huge_inline=False,
    ),
    Policy(
        "linux",
        rules.linux,
        "newest text: as linux-5.19, with SAVED_DIRTY among the software bits",
        "arch/x86/include/asm/tlbflush.h",
        huge_needs_flush=rules.linux_huge,
        huge_inline=False,
    ),
    Policy(
        "minimal",
        rules.minimal,
        "the weakest rule under Linux's handler: flush when a grant is lost, D or NX is cleared or caching changes",
        "docs/correctness.md section 6",
        huge_inline=False,
        trusts="That the page-fault handler heals a store that a stale read-only entry denies: it finds the entry "
        "writable and returns. Linux's does; it does not heal a fetch that a stale NX denies, so clearing NX is "
        "flushed.",
    ),
)

REGISTRY: Final[dict[str, Policy]] = {
    policy.name: policy for policy in (*RULES, *ELSEWHERE, *FAULTS)
}
