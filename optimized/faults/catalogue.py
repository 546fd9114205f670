"""The seeded faults as policies: the decision that each one breaks, the origin of the bug, and the rule that must catch
it.

Every fault except the v1 family is the newest Linux rule with one decision of its machinery replaced; the machinery is
that of Linux, or of lazy shootdown if the fault is in that.
"""

from typing import Final

from shootdown.machine.entry import ACCESSED, PKEY, RW
from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized import rules
from shootdown.optimized.faults import broadcast, delivery, gather, reclaim_tables
from shootdown.optimized.faults.answers import answering
from shootdown.optimized.faults.history import HISTORY
from shootdown.optimized.faults.seed import seed
from shootdown.optimized.latr import LatrFlush
from shootdown.optimized.policy import Fault, Policy
from shootdown.optimized.strategy import GatherFlush


def _skip_write_protect(old: int, new: int) -> bool:
    return rules.linux(old & ~RW | new & RW, new)


def _trust_accessed(old: int, new: int) -> bool:
    return bool(old & ACCESSED) and rules.linux(old, new)


def _skip_pkey(old: int, new: int) -> bool:
    return rules.linux(old & ~PKEY | new & PKEY, new)


def _skip_pkey_huge(old: int, new: int) -> bool:
    return rules.linux_huge(old & ~PKEY | new & PKEY, new)


def _v1_fault(
    name: str, fault: Fault, strategy: type[GatherFlush], *, inline: bool = True
) -> Policy:
    """Return a defect of the posted series, under a handler that tests VM_EXEC, so that defect 5 does not hide it."""
    return Policy(
        name=name,
        needs_flush=rules.v1,
        summary=fault.mechanism.split(": ")[0],
        source=fault.origin,
        huge_inline=inline,
        handler=FaultHandler.EXEC_CHECK,
        strategy=strategy,
        fault=fault,
    )


V1_DEFECT_5: Final = Fault(
    "C2",
    "20210925205423.168858-3-namit@vmware.com, docs/linux-tlb.md A.2 (1) defect 5 and E.2 entry 27; "
    "to be fixed by x86/mm: check exec permissions on fault, which was not merged",
    2021,
    "NX cleared without a flush: the spurious instruction fault hits a present entry, Linux's fault handler takes it "
    "for a denied read, then as now, and the program gets SIGSEGV for a fetch that mprotect has just allowed",
    shortest=3,
)

FAULTS: Final[tuple[Policy, ...]] = (
    seed(
        "skip-absent",
        Fault(
            "C1",
            "99baac21e458, docs/linux-tlb.md E.1 entry 5",
            2017,
            "a gather ends without looking for others: MADV_DONTNEED finds an entry that another CPU has cleared and "
            "not flushed yet, records nothing, and returns while the old page can still be read",
            shortest=5,
        ),
        strategy=answering(is_nested=False),
    ),
    seed(
        "issued-early",
        Fault(
            "C1",
            "typical",
            0,
            "the invalidation is issued before the change: a gather broadcasts it when it begins, so that it runs "
            "beside the walk, and only waits for it at its end; a CPU that has carried it out caches the old entry "
            "again before the change, and no other invalidation follows",
            shortest=5,
        ),
        needs_flush=rules.arm64,
        huge_needs_flush=rules.arm64,
        strategy=broadcast.IssuedEarly,
    ),
    seed(
        "drop-last-page",
        Fault(
            "C1",
            "typical",
            0,
            "the range is one page short: its last page is never flushed",
            shortest=3,
        ),
        strategy=gather.DropLastPage,
    ),
    seed(
        "skip-write-protect",
        Fault(
            "C1",
            "typical",
            0,
            "RW cleared without a flush: mprotect(PROT_READ) returns, and stores still succeed",
            shortest=3,
        ),
        needs_flush=_skip_write_protect,
    ),
    seed(
        "report-healed-fault",
        Fault(
            "C2",
            "SDM 4.10.4.3, docs/linux-tlb.md D.1",
            0,
            "a spurious protection fault is delivered: the handler finds nothing to do and signals the program anyway",
            shortest=3,
        ),
        needs_flush=rules.minimal_exec_check,
        # The handler that would heal every fault, also that of a fetch.
        handler=FaultHandler.EXEC_CHECK,
        report_spurious=True,
    ),
    seed(
        "free-before-flush",
        Fault(
            "C3",
            "include/asm-generic/tlb.h, docs/linux-tlb.md B.1",
            0,
            "frames are freed before the flush: a TLB still translates to them",
            shortest=2,
        ),
        strategy=gather.FreeBeforeFlush,
    ),
    seed(
        "skip-lazy-tables",
        Fault(
            "C3",
            "145f573b89a6, docs/linux-tlb.md E.4 entry 39",
            2018,
            "lazy CPUs are left out although page tables are freed: speculation walks a freed table through a cached "
            "upper entry",
            shortest=3,
        ),
        strategy=delivery.SkipLazyForTables,
    ),
    seed(
        "copy-before-flush",
        Fault(
            "C4",
            "try_to_unmap_flush in mm/migrate.c, docs/linux-tlb.md C",
            0,
            "migration copies before the flush: a store through the old entry is not in the copy",
            shortest=2,
        ),
        strategy=delivery.CopyBeforeFlush,
    ),
    seed(
        "swap-written-before-flush",
        Fault(
            "C4",
            "try_to_unmap_flush_dirty in mm/rmap.c (d950c9477d51), docs/linux-tlb.md B.2",
            0,
            "a dirty page is written to swap before the flush: a store through the old entry is not in the slot, and "
            "lost when the frame is freed",
            shortest=2,
        ),
        strategy=delivery.SwapBeforeFlush,
    ),
    seed(
        "pageout-before-flush",
        Fault(
            "C5",
            "try_to_unmap_flush_dirty in mm/rmap.c (d950c9477d51), docs/linux-tlb.md B.2",
            0,
            "reclaim writes a dirty page to its file before the flush: the page counts as clean from then on, and a "
            "later store through the old entry is in a frame that is freed and not written",
            shortest=4,
        ),
        strategy=delivery.PageoutBeforeFlush,
    ),
    seed(
        "dirty-left-unflushed",
        Fault(
            "C5",
            "shrink_folio_list in mm/vmscan.c, docs/linux-tlb.md (what is not modelled)",
            0,
            "reclaim leaves a dirty page of the file to the flusher threads and unlocks it before its flush: a store "
            "after the flusher's write never reaches the file",
            shortest=5,
        ),
        strategy=delivery.DirtyLeftUnflushed,
    ),
    seed(
        "move-unlock-before-flush",
        Fault(
            "C3",
            "eb66ae030829, CVE-2018-18281, docs/linux-tlb.md E.1 entry 16",
            2018,
            "mremap unlocks before the flush: the page is dropped from the file and freed through its new address "
            "while a TLB still has the old one",
            shortest=4,
        ),
        strategy=delivery.UnlockBeforeFlush,
    ),
    seed(
        "skip-dirty-clear",
        Fault(
            "C5",
            "SDM 4.10.4.3, docs/linux-tlb.md C (MADV_FREE)",
            0,
            "D cleared without a flush: a cached dirty entry takes stores silently, and reclaim drops the page",
            shortest=4,
        ),
        strategy=gather.SkipDirtyClear,
    ),
    seed(
        "lose-batch",
        Fault(
            "C6",
            "typical",
            0,
            "a full batch forgets its range: entries of the pages before it stay cached",
            shortest=2,
        ),
        strategy=gather.LoseBatch,
    ),
    seed(
        "leak-batch",
        Fault(
            "C7", "typical", 0, "a full batch is flushed, and its pages are never freed", shortest=2
        ),
        strategy=gather.LeakBatch,
    ),
    seed(
        "recycle-asid",
        Fault(
            "C1",
            "choose_new_asid in arch/x86/mm/tlb.c, docs/linux-tlb.md B.3",
            0,
            "an ASID gets another owner without a flush: the new address space uses the translations of the old one",
            shortest=2,
        ),
        strategy=answering(flush_recycled_asid=False),
    ),
    seed(
        "trust-accessed",
        Fault(
            "C1",
            "ptep_clear_flush_young in arch/x86/mm/pgtable.c, docs/correctness.md section 6",
            0,
            "an entry without A counts as never cached: aging clears A without a flush, but a TLB still has the entry",
            shortest=4,
        ),
        needs_flush=_trust_accessed,
    ),
    _v1_fault(
        "v1-pending-leak",
        Fault(
            "cost",
            "patch 1/2 of 20210925205423.168858-3-namit@vmware.com, docs/linux-tlb.md A.2 (1) defect 1 and "
            "E.1 entry 21",
            2021,
            "tlb_flush_pending is raised and never lowered: every later gather is nested and flushes everything, which "
            "hides every missing flush",
            shortest=2,
        ),
        gather.LeakPending,
    ),
    _v1_fault(
        "v1-huge-unrecorded",
        Fault(
            "C1",
            "20210925205423.168858-3-namit@vmware.com, docs/linux-tlb.md A.2 (1) defect 3",
            2021,
            "a huge PMD is not recorded in the gather: that was safe only while change_huge_pmd flushed inline",
            shortest=3,
        ),
        gather.HugeUnrecorded,
        inline=False,
    ),
    _v1_fault(
        "v1-migration-entry",
        Fault(
            "C1",
            "20210925205423.168858-3-namit@vmware.com, docs/linux-tlb.md A.2 (1) defect 4",
            2021,
            "a migration entry is downgraded without a flush: the flush of its unmapping is not done yet when mprotect "
            "returns",
            shortest=5,
        ),
        answering(flush_batched_pending=None),
    ),
    seed(
        "dec-before-flush",
        Fault(
            "C1",
            "tlb_finish_mmu in mm/mmu_gather.c, docs/linux-tlb.md B.1, G.10",
            0,
            "the pending count falls before the flush: a second gather is not nested, and returns without a flush",
            shortest=5,
        ),
        strategy=gather.DecBeforeFlush,
    ),
    seed(
        "sample-early",
        Fault(
            "C1",
            "71b3c126e611, CVE-2016-2069, docs/linux-tlb.md B.3 and E.4 entry 38",
            2016,
            "the CPUs to interrupt are chosen before the generation is raised: a CPU that switches in between has the "
            "old generation and gets no interrupt",
            shortest=6,
            shortest_open_from=5,
        ),
        strategy=delivery.SampleEarly,
    ),
    seed(
        "partial-by-local",
        Fault(
            "C1",
            "flush_tlb_func in arch/x86/mm/tlb.c, docs/linux-tlb.md B.3, G.11",
            0,
            "a ranged flush skips generations: the newer flush in flight finds its generation reached and does nothing",
            shortest=8,
            shortest_open_from=6,
        ),
        strategy=delivery.PartialByLocal,
    ),
    seed(
        "skip-pkey",
        Fault(
            "C1",
            "SDM 4.6.2, docs/linux-tlb.md D.4",
            0,
            "another protection key without a flush: a thread takes away its own rights to a key, pkey_mprotect gives "
            "the page that key and returns, and the thread still accesses it through the entry that its CPU has cached "
            "with the old key; in the other direction a stale key ends in SIGSEGV for an access that is allowed (C2)",
            shortest=4,
        ),
        needs_flush=_skip_pkey,
        huge_needs_flush=_skip_pkey_huge,
    ),
    seed(
        "put-off-unseen",
        Fault(
            "C1",
            "typical",
            0,
            "lazy shootdown that looks only for open gathers: a postponed flush leaves the count of open gathers "
            "before it is carried out, so a second MADV_DONTNEED, which took the page-table lock in between and found "
            "the entry gone, is not nested, and returns while its own CPU still reads the old page",
            shortest=7,
        ),
        strategy=answering(LatrFlush, is_put_off=False),
    ),
    seed(
        "addresses-reused",
        Fault(
            "C1",
            "typical",
            0,
            "lazy shootdown that reuses addresses: mmap returns the address of a munmap whose flush is postponed, and "
            "a thread on another CPU still uses the old page",
            shortest=4,
        ),
        strategy=answering(LatrFlush, addresses_reused=None),
    ),
    seed(
        "reclaim-spares-lazy",
        Fault(
            "C3",
            "pte_free_tlb in include/asm-generic/tlb.h, docs/linux-tlb.md B.1",
            0,
            "MADV_DONTNEED takes out the page table that it has emptied, but its flush does not know: a lazy CPU is "
            "left out, and walks the freed frame through its cached upper entry",
            shortest=3,
        ),
        strategy=reclaim_tables.ReclaimSparesLazy,
    ),
    seed(
        "filled-unhooked",
        Fault(
            "C1",
            "pte_offset_map_rw_nolock and pmd_same in mm/memory.c (6.14)",
            0,
            "a fault does not look at the PMD again under the PTL: it maps its page into a table that MADV_DONTNEED "
            "has taken out, and a CPU that still has the upper entry cached reads that page, while all others get "
            "another one",
            shortest=5,
        ),
        strategy=reclaim_tables.FilledUnhooked,
    ),
    *HISTORY,
)
