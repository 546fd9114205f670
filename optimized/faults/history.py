"""Bugs that Linux had, put back: the name says what goes wrong, and the origin names the commit of the fix."""

from typing import Final

from shootdown.machine.entry import NX
from shootdown.optimized import rules
from shootdown.optimized.faults import broadcast, delivery, gather, huge, temporary
from shootdown.optimized.faults.answers import answering
from shootdown.optimized.faults.seed import seed
from shootdown.optimized.paravirt import ParavirtFlush
from shootdown.optimized.policy import Fault, Policy


def _nx_unflushed(old: int, new: int) -> bool:
    return rules.linux(old & ~NX | new & NX, new)


HISTORY: Final[tuple[Policy, ...]] = (
    seed(
        "uffd-cow-unflushed",
        Fault(
            "C4",
            "6ce64428d620, docs/linux-tlb.md E.1 entry 1",
            2021,
            "a write fault copies a page whose write-protection is not flushed yet: userfaultfd takes RW away under "
            "mmap_lock for reading and defers the flush, another thread gives the page back, a third one writes and "
            "gets a copy, and a fourth one, whose CPU still has the writable entry, stores to the old frame after the "
            "copy; its store is lost",
            shortest=9,
            shortest_open_from=3,
        ),
        strategy=answering(flush_pending=False),
    ),
    seed(
        "merge-pending-unseen",
        Fault(
            "C4",
            "b3a81d0841a9, docs/linux-tlb.md E.1 entry 50",
            2017,
            "KSM takes a page for write-protected although its flush is pending: MADV_FREE has cleared DIRTY and "
            "another call RW, neither has flushed, so write_protect_page finds a clean read-only entry and does not "
            "flush either; the pages are compared, a thread stores through the entry that its CPU has cached, and the "
            "page is replaced by the other one; the store is lost",
            shortest=9,
            shortest_open_from=1,
        ),
        strategy=answering(pending_before_merge=False),
    ),
    seed(
        "batched-unmap-unseen",
        Fault(
            "C1",
            "3ea277194daa, docs/linux-tlb.md E.1 entry 2",
            2017,
            "the flush of a batched unmap is not looked for: reclaim clears an entry and defers the flush; mprotect, "
            "munmap or madvise finds nothing present, has nothing to flush and returns; and a thread still uses the "
            "entry that its CPU has cached",
            shortest=5,
        ),
        strategy=answering(flush_batched_pending=None),
    ),
    seed(
        "pending-cleared",
        Fault(
            "C1",
            "16af97dc5a89, docs/linux-tlb.md E.1 entry 7",
            2017,
            "the pending mark is a bool: the first of two overlapping gathers to end clears it for both, and a third "
            "operation, which finds changes of the second one that are not flushed, sees no reason to flush",
            shortest=7,
            shortest_open_from=4,
        ),
        strategy=gather.PendingCleared,
    ),
    seed(
        "nested-level-lost",
        Fault(
            "C3",
            "7a30df49f63a, docs/linux-tlb.md E.2 entry 22",
            2019,
            "a nested gather forgets that it freed tables: the forced full flush resets the record, so it is sent as "
            "one that freed no page table, and a CPU or a cache that may skip such a flush (here a lazy CPU, on arm64 "
            "the upper levels of the walk) still leads to a freed table",
            shortest=5,
            shortest_open_from=4,
        ),
        strategy=gather.NestedLevelLost,
    ),
    seed(
        "table-freed-at-once",
        Fault(
            "C3",
            "0ed1325967ab, d86564a2f085, docs/linux-tlb.md E.2 entry 23",
            2020,
            "a page table is freed without an invalidation: if no memory is left for a batch of tables, the table "
            "returns to the allocator at once, and the paging-structure caches still lead to it",
            shortest=2,
        ),
        strategy=gather.TableFreedAtOnce,
    ),
    seed(
        "nx-set-unflushed",
        Fault(
            "C1",
            "patch 11/14 of 20220718120212.3180-1-namit@vmware.com, docs/linux-tlb.md E.2 entry 28",
            2022,
            "NX set without a flush: the patch took NX from the flags whose change needs a flush, and only the next "
            "patch tested the flags whose setting needs one, so after mprotect code can still be fetched",
            shortest=4,
        ),
        needs_flush=_nx_unflushed,
    ),
    seed(
        "pmd-none-in-between",
        Fault(
            "C1",
            "ced108037c2a, docs/linux-tlb.md E.3 entry 29",
            2017,
            "a huge PMD is empty for a moment: a protection change takes it out and puts it back, and MADV_DONTNEED, "
            "which looks without the lock, takes it for a hole, skips it, and returns with the old content mapped",
            shortest=5,
        ),
        strategy=answering(huge_invalid=0),
    ),
    seed(
        "clear-refs-unflushed",
        Fault(
            "C1",
            "912efa17e512, docs/linux-tlb.md E.1 entry 13",
            2020,
            "clear_refs flushes nothing: it opened a gather and recorded no range in it, which was enough while the "
            "end of a gather always flushed; since 0758cd830494 an empty one does not, and stores still use writable "
            "entries without a fault that would mark their pages",
            shortest=3,
        ),
        strategy=answering(soft_dirty_cleared=None),
    ),
    seed(
        "soft-dirty-ignored",
        Fault(
            "C5",
            "76aefad628aa, docs/linux-tlb.md E.2 entry 26",
            2022,
            "mprotect makes a page writable whose first store must be seen: the check of soft-dirty tracking was "
            "inverted, so the store causes no fault and leaves no mark; no TLB is stale",
            shortest=4,
        ),
        soft_dirty_check=False,
    ),
    seed(
        "zap-range-unflushed",
        Fault(
            "C1",
            "4647706ebeee, docs/linux-tlb.md E.1 entry 6",
            2017,
            "a gather that recorded nothing does not look for others: zap_page_range finds an entry that another "
            "thread has cleared and not flushed yet, has nothing to flush itself, and returns while the old page can "
            "be read",
            shortest=5,
        ),
        strategy=gather.EmptyNeverNested,
    ),
    seed(
        "zap-unlock-before-flush",
        Fault(
            "C5",
            "1cf35d47712d, docs/linux-tlb.md E.1 entry 17",
            2014,
            "a zap of a dirty page of a file releases the PTL and flushes later: page_mkclean finds the page unmapped, "
            "writeback marks it as clean and writes it, and a CPU that still has the writable entry stores to it after "
            "that; the store never reaches the disk",
            shortest=5,
        ),
        strategy=gather.ZapUnlockBeforeFlush,
    ),
    seed(
        "rmap-before-flush",
        Fault(
            "C5",
            "5df397dec7c4, docs/linux-tlb.md E.1 entry 18",
            2022,
            "a zap drops the rmap of a dirty page of a file before it flushes: page_mkclean checks whether the page is "
            "mapped at all, finds that it is not and does not wait for the PTL, so writeback continues while a CPU "
            "still has the writable entry",
            shortest=5,
        ),
        strategy=gather.RmapBeforeFlush,
    ),
    seed(
        "move-before-mkclean",
        Fault(
            "C5",
            "5d1904204c99, docs/linux-tlb.md E.1 entry 15",
            2016,
            "mremap moves a dirty page of a file and flushes the old address after it has released the PTL: "
            "page_mkclean finds the page at its new address, cleans it and flushes there, the page is written back, "
            "and a CPU stores to it through the old address; the store never reaches the disk",
            shortest=5,
        ),
        strategy=delivery.UnlockBeforeFlush,
    ),
    seed(
        "generation-zero-reached",
        Fault(
            "C3",
            "8f1d56f64f8d, docs/linux-tlb.md E.4 entry 36",
            2022,
            "the flush of batched unmaps never happens: it is sent with generation 0, and a test that saves a CPU the "
            "look at tlb_gen if a flush's generation is not above its own returns for 0 as well, on every CPU; reclaim "
            "and migration continue as if no TLB had the frame",
            shortest=2,
        ),
        strategy=delivery.GenerationZeroReached,
    ),
    seed(
        "range-spares-lazy",
        Fault(
            "C3",
            "3ef938c35035, CVE-2025-22045, docs/linux-tlb.md E.3 entry 34",
            2025,
            "the flush of a range leaves lazy CPUs out although a page table is freed: khugepaged takes out a PMD that "
            "points to a table and calls flush_tlb_range, which said that no table is freed, so a CPU that runs a "
            "kernel thread gets no interrupt, and walks the freed table through its paging-structure cache",
            shortest=5,
        ),
        strategy=delivery.RangeSparesLazy,
    ),
    seed(
        "borrowed-mm-restored",
        Fault(
            "C3",
            "abee7c494d8c, docs/linux-tlb.md E.4 entry 42",
            2020,
            "a lazy CPU returns from a temporary address space to the one that it had borrowed: a kernel thread calls "
            "text_poke on a CPU that still has the tables of a process loaded; while the temporary space is loaded, "
            "the process exits on another CPU, which finds no CPU with its tables and frees them, and the restored CR3 "
            "leads to a freed table, on a CPU that is no longer lazy",
            shortest=5,
        ),
        strategy=temporary.RestoresBorrowed,
    ),
    seed(
        "raw-cr3-restored",
        Fault(
            "C1",
            "52a2af400c10, docs/linux-tlb.md E.4 entry 43",
            2017,
            "CR3 is saved, written and restored by code that knows no ASIDs: the page tables of an EFI call are loaded "
            "under PCID 0, and if the call comes from an address space with another PCID, its translations stay there, "
            "for the address space that has ASID 0 and is loaded next without a flush",
            shortest=5,
        ),
        strategy=temporary.RawCr3,
    ),
    seed(
        "protnone-unflushed",
        Fault(
            "C4",
            "20841405940e, docs/linux-tlb.md E.1 entry 11",
            2013,
            "a PROTNONE entry counts as in no TLB although its flush is pending: the NUMA scan clears PRESENT and "
            "flushes only at its end, a hint fault on another CPU migrates the page and sees nothing to flush, and a "
            "third CPU stores to the old page through the entry that it has cached; its store is lost",
            shortest=4,
        ),
        strategy=delivery.ProtnoneUncached,
    ),
    seed(
        "pending-asked-unlocked",
        Fault(
            "C4",
            "a9b802500ebb, b0943d61b8fa, docs/linux-tlb.md E.1 entry 9",
            2017,
            "the question whether a flush is pending is asked without the page-table lock: the migration of a "
            "misplaced huge page asked it after it had released its locks, so nothing orders it after the scan's "
            "change of the entry; the answer is older than the scan, and the page is copied while a CPU stores to it",
            shortest=7,
        ),
        strategy=answering(asks_unlocked=True),
    ),
    seed(
        "pmd-none-before-copy",
        Fault(
            "C1",
            "d7c3393413fe, 7066f0f933a1, docs/linux-tlb.md E.3 entry 30",
            2018,
            "a huge PMD is empty between a page and its copy: the migration of a misplaced huge page clears the entry "
            "and flushes it before it stores the new one, and MADV_DONTNEED, which looks without the lock, takes it "
            "for a hole, skips it, and returns; then the copy of the old content is mapped",
            shortest=5,
        ),
        strategy=huge.NoneBeforeCopy,
    ),
    seed(
        "batch-broadcast-only",
        Fault(
            "C4",
            "INVLPGB series of December 2024, fixed in its v2, docs/linux-tlb.md E.4 entry 45",
            2024,
            "a batch of unmaps with a broadcast sends no interrupts: it has pages of an address space with a global "
            "ASID, for which INVLPGB was issued, and of others, whose CPUs are in the batch's mask; the flush waits "
            "only for the former, with TLBSYNC, and the other CPUs store to the frame while it is copied",
            shortest=3,
        ),
        strategy=broadcast.BatchBroadcastOnly,
    ),
    seed(
        "batch-transition-missed",
        Fault(
            "C4",
            "INVLPGB series, fixed in its v5 (a race between reclaim and ASID transition), docs/linux-tlb.md E.4 "
            "entry 45",
            2025,
            "a batched unmap forgets the stragglers: the address space has just got a global ASID, under which the "
            "unmap is broadcast, but a CPU that still runs the space under its own ASID needs an interrupt as well, "
            "gets none, and keeps its translation",
            shortest=3,
        ),
        strategy=broadcast.BatchTransitionMissed,
    ),
    seed(
        "wait-by-another",
        Fault(
            "C1",
            "4b634918384c, docs/linux-tlb.md E.4 entry 49",
            2025,
            "an operation that finds a batched unmap waits for an invalidation of another CPU: on arm64 reclaim issues "
            "a TLBI for each page and one DSB at the end, and mprotect, which comes in between, executed its own DSB; "
            "that completes only the invalidations of its own CPU, and a thread still uses the entry",
            shortest=5,
        ),
        needs_flush=rules.arm64,
        huge_needs_flush=rules.arm64,
        strategy=broadcast.WaitByAnother,
    ),
    seed(
        "pfnmap-unflushed",
        Fault(
            "C3",
            "b67fbebd4cf9 (CVE-2022-39188), docs/linux-tlb.md E.1 entry 51",
            2022,
            "munmap of a driver's pages flushes only at its end: it zaps the entries, which hold no reference to the "
            "pages, and unlinks the region from i_mmap; the driver's unmap_mapping_range finds no region there, has "
            "nothing to zap and nothing to flush, and returns; the driver frees the pages, and a thread on another "
            "CPU still reaches them",
            shortest=4,
        ),
        strategy=answering(pfn_vma_unmapped=None),
    ),
    seed(
        "collapse-without-sync",
        Fault(
            "C3",
            "2ba99c5e0881, docs/linux-tlb.md E.3 entry 32",
            2022,
            "a collapse does not wait for lockless walkers: GUP-fast has read the PMD, with interrupts disabled, on a "
            "virtual CPU that the host has preempted; khugepaged takes the page table out, the hypervisor flushes "
            "without an interrupt to wait for, and the table is freed before the walker reads it",
            shortest=5,
            shortest_open_from=4,
        ),
        strategy=answering(ParavirtFlush, collapse_syncs=False, collapse_defers_free=False),
    ),
    seed(
        "pmd-unchecked",
        Fault(
            "C4",
            "70cbc3cc78a9, docs/linux-tlb.md E.3 entry 32",
            2022,
            "GUP-fast looks only at the PTE again when it has its reference: khugepaged has taken the whole page table "
            "out of the PMD meanwhile, has found the page unpinned, and leaves the entry in the table unchanged, so "
            "the walker returns a page that is being copied, and a device still uses the old one",
            shortest=6,
            shortest_open_from=5,
        ),
        # At that time only the walker's own check protected it from the collapse; the table was deposited, so a walker
        # never read a freed one.
        strategy=answering(ParavirtFlush, collapse_syncs=False, pmd_checked_again=False),
    ),
    seed(
        "huge-zero-put-early",
        Fault(
            "C3",
            "aa88b68c3b1d, docs/linux-tlb.md E.3 entry 52",
            2016,
            "a zap drops the reference of the huge zero page before it flushes: after the last mapping is gone, the "
            "shrinker finds only the page's own reference and frees it, while another CPU still reads zeros through "
            "its TLB, and soon the data of the next owner of the frames",
            shortest=4,
        ),
        strategy=huge.HugeZeroPutEarly,
    ),
)
