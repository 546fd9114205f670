"""Policies that Linux on a bare x86 does not have: rules that were not merged, or need a page-fault handler that was
not merged, rules of other architectures, other deliveries.

Each runs here on the processor of x86 and, unless it names a strategy, with the machinery of x86, so a comparison shows
the effect of the rule or the delivery.
"""

from typing import Final

from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized import rules
from shootdown.optimized.arm64 import Arm64Flush
from shootdown.optimized.latr import LatrFlush
from shootdown.optimized.paravirt import ParavirtFlush
from shootdown.optimized.policy import Policy
from shootdown.optimized.relaxed import RelaxedFlush

ELSEWHERE: Final[tuple[Policy, ...]] = (
    Policy(
        "minimal-exec-check",
        rules.minimal_exec_check,
        "the weakest rule under a handler that tests VM_EXEC: as minimal, and clearing NX needs no flush",
        "docs/correctness.md section 6",
        huge_inline=False,
        handler=FaultHandler.EXEC_CHECK,
        trusts="That the page-fault handler heals every access that a stale, tighter entry denies, also a fetch: it "
        "asks the region, finds that the entry allows the access, and returns. No released kernel does so for fetches "
        '("x86/mm: check exec permissions on fault" was not merged).',
    ),
    Policy(
        "rfc-2021",
        rules.rfc_2021,
        "the RFC of January 2021: v1, and clearing RW of a writable, clean entry needs no flush",
        "20210131001132.3368247-4-namit@vmware.com",
        handler=FaultHandler.EXEC_CHECK,
        trusts="That a store through a clean cached entry checks the entry in memory before it sets D: clearing RW of "
        "a clean entry is not among the changes for which SDM 4.10.4.3 makes an invalidation optional. That the fault "
        "handler heals a spurious fault of every kind, which no released kernel does for fetches: here it runs with "
        "the handler that tests VM_EXEC, and with Linux's own a promotion of NX ends as in v1. That `old` is the value "
        "that the atomic exchange returned: after an earlier read a store may have made the entry dirty.",
    ),
    Policy(
        "rfc-2022",
        rules.rfc_2022_relaxed,
        "relaxed flushes, not merged: a promotion is flushed on the local CPU only",
        "20220718120212.3180-1-namit@vmware.com, patches 10 to 12",
        huge_inline=False,
        handler=FaultHandler.EXEC_CHECK,
        strategy=RelaxedFlush,
        trusts="That every tighter entry that a promotion leaves on another CPU ends in a fault which the handler "
        "heals, also for a fetch, so the handler must test VM_EXEC, as no released kernel does. In that fault the CPU "
        "finds its generation behind and flushes its whole context, so one fault heals all of them. That the "
        "generations count the flush which was not sent: the next strict flush finds a gap, and must not invalidate "
        "only its range. And the check of clean entries, as rfc-2021.",
    ),
    Policy(
        "powerpc-radix",
        rules.powerpc_radix,
        "powerpc with the radix MMU: skips changes that widen rights, and the accessed bit",
        "arch/powerpc/include/asm/book3s/64/tlbflush.h",
        huge_inline=False,
        handler=FaultHandler.EXEC_CHECK,
        trusts="That a processor which finds a right missing in its TLB looks at the page table before it faults, so "
        "that a wider right takes effect without a flush and the fault handler has no spurious fault to fix; on x86, "
        "as here, the fault itself drops the entry and the retry succeeds, for a fetch if the handler tests VM_EXEC, "
        "as that of powerpc does (arch/powerpc/mm/fault.c). It trusts nothing about software bits and "
        "flushes if one changes, and is asked only about present entries of user pages.",
    ),
    Policy(
        "latr",
        rules.linux,
        "lazy shootdown: munmap and MADV_DONTNEED send no interrupts, each CPU flushes at its next tick",
        "Kumar et al., ASPLOS 2018",
        huge_needs_flush=rules.linux_huge,
        huge_inline=False,
        strategy=LatrFlush,
        trusts="That a program does not touch memory that it has given up until every CPU has had a tick or a context "
        "switch: munmap returns before its promise holds, and stores through an old entry are lost with the page. That "
        "before that no frame is freed and no address mapped again: mmap and mremap do the postponed flushes. That an "
        "operation which takes a page-table lock of the space meanwhile looks for postponed flushes, because it finds "
        "entries gone and has nothing to flush itself; and that a gather which took the lock earlier counts as nested, "
        "because a postponed flush is no open gather any more. That each CPU has a tick or a context switch: a CPU "
        "that runs user code without ticks (NO_HZ_FULL) delays the frames. That an idle CPU, which has the space "
        "lazily and for which no flush waits, compares generations before it runs the space again, and walks no freed "
        "page table, because those are flushed at once.",
    ),
    Policy(
        "arm64",
        rules.arm64,
        "arm64 since v6.19: skips entries that were not valid, and software bits; every flush is broadcast",
        "arm64/mm: Elide TLB flush in certain pte protection transitions",
        huge_inline=False,
        strategy=Arm64Flush,
        trusts="That an entry which is not valid is in no TLB, which holds only when the flush that made it so is "
        "complete: an unmap in a batch issues its invalidation (TLBI) and waits for it later (DSB), and the wait of "
        "another CPU does not complete it. That the processor never looks at software bits. "
        "About rights it trusts nothing: every other change is flushed, promotions and the access flag included.",
    ),
    Policy(
        "linux-pv",
        rules.linux,
        "linux in a guest: a CPU that does not run is flushed by the hypervisor, and no flush waits for it",
        "KVM_FEATURE_PV_TLB_FLUSH, arch/x86/kernel/kvm.c",
        huge_needs_flush=rules.linux_huge,
        huge_inline=False,
        strategy=ParavirtFlush,
        trusts="That something other than a flush waits for walkers that read page tables without a lock: tables are "
        "freed after a grace period, a collapse sends its own interrupt, and a lockless walker looks at both entries "
        "again when it has its reference. That a CPU which the hypervisor has flushed flushes again, because its "
        "generation is still behind.",
    ),
)
