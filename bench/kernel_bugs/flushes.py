"""Bugs of flushes: which CPUs are interrupted, and what each of them does (flush_tlb_func)."""

from typing import Final

from bench.kernel_bugs.bug import Bug, Edit
from shootdown.kernel.splicer import FLUSHING

BUGS: Final = (
    Bug(
        name="switching-cpu-spared",
        origin="fea4e317f9e7, CVE-2025-37964",
        mechanism="a CPU in the middle of a switch gets no interrupt, and has compared generations before",
        reason="stale-grant",
        edits=(Edit(FLUSHING, r"if \(loaded_mm == LOADED_MM_SWITCHING\)\s+return true;", ""),),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu0 fork
cpu1 write p0
cpu1 switch mm1
cpu1 switch mm0 until cr3
cpu0 mprotect p0 r
cpu1 run
cpu1 write p0
""",
    ),
    Bug(
        name="no-generation-reached",
        origin="8f1d56f64f8d",
        mechanism="the flush of batched unmaps has generation 0, which every CPU takes for reached",
        reason="freed-frame-still-cached",
        edits=(Edit(FLUSHING, r"f->new_tlb_gen != TLB_GENERATION_INVALID &&\s+", ""),),
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
        name="lazy-spared-for-tables",
        origin="145f573b89a6",
        mechanism="lazy CPUs get no interrupt although page tables are freed",
        reason="freed-table-still-cached",
        edits=(Edit(FLUSHING, r"if \(info->freed_tables(?=\)| \|\|)", "if (false"),),
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
        name="lazy-target-stays",
        origin="own",
        mechanism="a lazy CPU that is interrupted stays in the address space, with what it has cached of its tables",
        reason="freed-table-still-cached",
        edits=(Edit(FLUSHING, r"switch_mm_irqs_off\(NULL, &init_mm, NULL\);(?=\s+return;)", ""),),
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
        name="partial-skips-generations",
        origin="own",
        mechanism="the newest flush is partial for a CPU that lacks an older one, which it then takes for done",
        reason="stale-grant",
        edits=(Edit(FLUSHING, r"f->new_tlb_gen == local_tlb_gen \+ 1 &&\s+", ""),),
        scenario="""
cpus 3
pages 2
layout private
asids 2

cpu0 uffd_register p0
cpu0 write p0
cpu0 write p1
cpu0 fork
cpu2 write p0
cpu2 read p1
cpu0 uffd_wp p0 until ack
cpu1 write p1
cpu0 run
cpu2 write p0
""",
    ),
    Bug(
        name="partial-not-newest",
        origin="own",
        mechanism="a partial flush of an older generation takes the newest one for done",
        reason="stale-grant",
        edits=(Edit(FLUSHING, r" &&\s+f->new_tlb_gen == mm_tlb_gen\)", ")"),),
        scenario="""
cpus 3
pages 2
layout private
asids 2

cpu0 uffd_register p0-p1
cpu2 write p0
cpu2 write p1
cpu0 uffd_wp p0 until ack
cpu1 uffd_wp p1 until ack
cpu0 run
cpu1 run
cpu2 write p1
""",
        held_out=True,
    ),
    Bug(
        name="last-page-kept",
        origin="own",
        mechanism="a partial flush ends one page early",
        reason="stale-grant",
        edits=(
            Edit(
                FLUSHING,
                r"while \(addr < f->end\)",
                "while (addr + (1UL << f->stride_shift) < f->end)",
            ),
        ),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu1 write p0
cpu0 mprotect p0 r
cpu1 write p0
""",
    ),
    Bug(
        name="generation-stored-too-new",
        origin="own",
        mechanism="a flush stores the generation that is the newest after it, not the one that it has read before",
        reason="stale-grant",
        edits=(
            Edit(
                FLUSHING,
                r"(this_cpu_write\(cpu_tlbstate\.ctxs\[loaded_mm_asid\]\.tlb_gen, )mm_tlb_gen\);",
                r"\1atomic64_read(&loaded_mm->context.tlb_gen));",
            ),
        ),
        scenario="""
cpus 2
pages 2
layout private
asids 2

cpu0 uffd_register p0-p1
cpu0 write p0
cpu0 write p1
cpu0 uffd_wp p0 until invalidate
cpu0 run until generation
cpu1 uffd_wp p1
cpu0 run
cpu0 write p1
""",
        held_out=True,
    ),
    Bug(
        name="flush-names-the-next-generation",
        origin="own",
        mechanism="a flush names a generation that does not exist yet, and an assertion of the text notices",
        reason="kernel-warning",
        edits=(Edit(FLUSHING, r"(new_tlb_gen = inc_mm_tlb_gen\(mm\));", r"\1 + 1;"),),
        scenario="""
cpus 1
pages 1
layout private
asids 2

cpu0 write p0
cpu0 mprotect p0 r
""",
    ),
    Bug(
        name="batch-cleared-first",
        origin="own",
        mechanism="the flush of batched unmaps empties its mask before it reads it",
        reason="freed-frame-still-cached",
        edits=(
            Edit(
                FLUSHING,
                r"void arch_tlbbatch_flush[^}]*?TLB_GENERATION_INVALID\);",
                r"\g<0> cpumask_clear(&batch->cpumask);",
            ),
        ),
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
)
