"""Bugs of context switches and lazy mode: switch_mm_irqs_off and choose_new_asid."""

from typing import Final

from bench.kernel_bugs.bug import Bug, Edit
from shootdown.kernel.splicer import FLUSHING

_GENERATION_READ: Final = r"next_tlb_gen = atomic64_read\(&next->context\.tlb_gen\);"
_MASK_SET: Final = (
    r"if \(next != &init_mm[^;]*?\)\s+cpumask_set_cpu\(cpu, mm_cpumask\(next\)\);"
    r"(?:\s+else\s+smp_mb\(\);)?"
)

BUGS: Final = (
    Bug(
        name="recycled-asid-unflushed",
        origin="own",
        mechanism="an ASID gets another owner without a flush",
        reason="stale-grant",
        edits=(Edit(FLUSHING, r"(next_asid, 1\);\s+\}\s+\S*need_flush = )true;", r"\1false;"),),
        scenario="""
cpus 1
pages 1
layout private
asids 1

cpu0 write p0
cpu0 fork
cpu0 write p0
cpu0 switch mm1
cpu0 read p0
""",
    ),
    Bug(
        name="outdated-asid-unflushed",
        origin="own",
        mechanism="an ASID that the address space still has is used whatever generation it has reached",
        reason="stale-grant",
        edits=(
            Edit(
                FLUSHING,
                r"(need_flush = )\(this_cpu_read\(cpu_tlbstate\.ctxs\[asid\]\.tlb_gen\) <\s+next_tlb_gen\);",
                r"\1false;",
            ),
        ),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu0 fork
cpu0 write p0
cpu0 switch mm1
cpu1 mprotect p0 r
cpu0 switch mm0
cpu0 write p0
""",
    ),
    Bug(
        name="switch-stores-no-generation",
        origin="own",
        mechanism="an ASID keeps the generation of its owner before, which may be ahead of the new one's",
        reason="stale-grant",
        edits=(
            Edit(
                FLUSHING,
                r"this_cpu_write\(cpu_tlbstate\.ctxs\[\S+asid\]\.tlb_gen, next_tlb_gen\);",
                "",
            ),
        ),
        scenario="""
cpus 2
pages 1
layout private
asids 1

cpu0 write p0
cpu0 mprotect p0 r
cpu0 mprotect p0 rw
cpu0 fork
cpu0 switch mm1
cpu1 switch mm1
cpu0 write p0
cpu1 mprotect p0 r
cpu0 write p0
""",
    ),
    Bug(
        name="lazy-return-uncompared",
        origin="own",
        mechanism="a CPU leaves lazy mode in the same address space without a look at the generation",
        reason="stale-grant",
        edits=(
            Edit(
                FLUSHING,
                r"if \(this_cpu_read\(cpu_tlbstate\.ctxs\[prev_asid\]\.tlb_gen\) ==\s+next_tlb_gen\)",
                "if (true)",
            ),
        ),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu1 write p0
cpu1 lazy
cpu0 mprotect p0 r
cpu1 switch mm0
cpu1 write p0
""",
    ),
    Bug(
        name="lazy-cleared-late",
        origin="own",
        mechanism="a CPU that leaves lazy mode reads the generation before others see that it needs interrupts again",
        reason="stale-grant",
        edits=(
            Edit(
                FLUSHING,
                r"if \(was_lazy\)\s+this_cpu_write\(cpu_tlbstate_shared\.is_lazy, false\);",
                r"next_tlb_gen = atomic64_read(&next->context.tlb_gen); \g<0>",
            ),
            Edit(
                FLUSHING,
                rf"(smp_mb\(\);\s+){_GENERATION_READ}(?=\s+if \(this_cpu_read\(cpu_tlbstate\.ctxs\[prev_asid\])",
                r"\1",
            ),
        ),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu1 write p0
cpu1 lazy
cpu1 switch mm0 until loaded
cpu0 mprotect p0 r
cpu1 run
cpu1 write p0
""",
    ),
    Bug(
        name="mask-set-after-generation",
        origin="71b3c126e611, CVE-2016-2069",
        mechanism="a switch reads the generation before the CPU is in the mask: a flush in between misses both",
        reason="stale-grant",
        edits=(Edit(FLUSHING, rf"({_MASK_SET})(\s+)({_GENERATION_READ})", r"\3\2\1"),),
        # Later texts clear a CPU's bit only at a flush, after which the CPU's next switch to the address space flushes,
        # whatever the order.
        before=(6, 14),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu0 fork
cpu1 write p0
cpu1 switch mm1
cpu1 switch mm0 until generation
cpu1 run until mask
cpu0 mprotect p0 r
cpu1 run
cpu1 write p0
""",
    ),
    Bug(
        name="mask-set-after-cr3",
        origin="own",
        mechanism="a switch loads CR3 before the CPU is in the mask",
        reason="stale-grant",
        edits=(
            Edit(FLUSHING, _MASK_SET, ""),
            Edit(
                FLUSHING,
                r"this_cpu_write\(cpu_tlbstate\.loaded_mm, next\);",
                r"if (next != &init_mm) cpumask_set_cpu(cpu, mm_cpumask(next)); \g<0>",
            ),
        ),
        scenario="""
cpus 2
pages 1
layout private
asids 2

cpu0 fork
cpu0 switch mm1
cpu0 write p0
cpu1 switch mm1 until cr3
cpu1 run until mask
cpu1 fill p0
cpu0 mprotect p0 r
cpu1 run
cpu1 write p0
""",
    ),
)
