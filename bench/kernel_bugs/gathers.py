"""Bugs of gathers and of batched unmaps: what is recorded, and when it is flushed, freed and counted."""

from typing import Final

from bench.kernel_bugs.bug import Bug, Edit
from shootdown.kernel.splicer import GATHERING
from shootdown.kernel.text import RULE_HEADER

_OF_GATHER: Final = "arch/x86/include/asm/tlb.h"
_BATCH_ADDS: Final = r"cpumask_or(\(&batch->cpumask, )&batch->cpumask, (mm_cpumask\(mm\)\);)"

BUGS: Final = (
    Bug(
        name="nested-unflushed",
        origin="99baac21e458",
        mechanism="a gather ends without a look for others that have changed entries and not flushed yet",
        reason="stale-grant",
        edits=(Edit(GATHERING, r"if \(mm_tlb_flush_nested\(tlb->mm\)\)", "if (false)"),),
        scenario="""
cpus 3
pages 1
layout private
asids 2

cpu2 write p0
cpu0 dontneed p0 until flush
cpu1 dontneed p0
cpu2 read p0
""",
    ),
    Bug(
        name="pending-dropped-early",
        origin="own",
        mechanism="a gather leaves the count of pending flushes before it flushes",
        reason="stale-grant",
        edits=(
            Edit(
                GATHERING,
                r"(tlb_flush_mmu\(tlb\);\s+#ifndef \w+\s+tlb_batch_list_free\(tlb\);\s+#endif\s+)"
                r"(dec_tlb_flush_pending\(tlb->mm\);)",
                r"\2 \1",
            ),
        ),
        scenario="""
cpus 2
pages 1
layout private
asids 2
batch 2

cpu1 write p0
cpu0 dontneed p0 until ack
cpu1 dontneed p0
cpu1 read p0
""",
    ),
    Bug(
        name="gather-frees-first",
        origin="own",
        mechanism="a gather frees its pages before it flushes",
        reason="freed-frame-still-cached",
        edits=(
            Edit(
                GATHERING,
                r"(tlb_flush_mmu_tlbonly\(tlb\);)(\s+)(tlb_flush_mmu_free\(tlb\);)",
                r"\3\2\1",
            ),
        ),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu1 write p0
cpu0 dontneed p0
""",
    ),
    Bug(
        name="freed-tables-dropped",
        origin="own",
        mechanism="the flush of a gather is not told that page tables will be freed",
        reason="freed-table-still-cached",
        edits=(Edit(_OF_GATHER, r"stride_shift, tlb->freed_tables\);", "stride_shift, false);"),),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu1 read p0
cpu1 lazy
cpu0 munmap p0
""",
    ),
    Bug(
        name="batch-adds-no-cpu",
        origin="own",
        mechanism="a batched unmap raises the generation, and adds no CPU to the batch",
        reason="freed-frame-still-cached",
        edits=(Edit(RULE_HEADER, _BATCH_ADDS, ""),),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu1 write p0
cpu0 free p0
cpu1 read p0
cpu0 reclaim p0 mm0
""",
    ),
    Bug(
        name="batch-keeps-last-space",
        origin="own",
        mechanism="a batch of unmaps has only the CPUs of the address space that came last",
        reason="freed-frame-still-cached",
        edits=(Edit(RULE_HEADER, _BATCH_ADDS, r"cpumask_copy\1\2"),),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu0 write p0
cpu0 fork
cpu0 switch mm1
cpu1 read p0
cpu0 migrate p0 mm0
""",
        held_out=True,
    ),
)
