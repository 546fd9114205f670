"""Bugs of broadcast flushes (INVLPGB) and of the transition to a global ASID."""

from typing import Final

from bench.kernel_bugs.bug import Bug, Edit
from shootdown.kernel.splicer import FLUSHING
from shootdown.kernel.text import RULE_HEADER

_FIRST: Final = (6, 15)
"""The first release with broadcast flushes."""

BUGS: Final = (
    Bug(
        name="broadcast-unwaited",
        origin="own",
        mechanism="a flush returns while its broadcast is under way",
        reason="stale-grant",
        edits=(
            Edit(
                FLUSHING, r"(finish_asid_transition\(info\);\s+/\*[^/]*\*/\s+)__tlbsync\(\);", r"\1"
            ),
        ),
        scenario="""
cpus 2
pages 1
layout private
asids 2
machine invlpgb

cpu0 write p0
cpu1 read p0
cpu0 mprotect p0 r
cpu0 switch mm0
cpu1 switch mm0
cpu1 read p0
cpu0 mprotect p0 none
cpu1 read p0
""",
        since=_FIRST,
    ),
    Bug(
        name="stragglers-spared",
        origin="own",
        mechanism="a flush in a space with a global ASID does not interrupt the CPUs that still use their own ASIDs",
        reason="stale-grant",
        edits=(
            Edit(FLUSHING, r"flush_tlb_multi\(mm_cpumask\(info->mm\), info\);(?=\s+return;)", ""),
        ),
        scenario="""
cpus 2
pages 1
layout private
asids 2
machine invlpgb

cpu0 write p0
cpu1 read p0
cpu0 mprotect p0 r
cpu1 read p0
cpu0 mprotect p0 none
cpu1 read p0
""",
        since=_FIRST,
    ),
    Bug(
        name="switching-cpu-unwaited",
        origin="own",
        mechanism="the transition to a global ASID ends while a CPU switches to the space with an ASID of its own",
        reason="stale-grant",
        edits=(
            Edit(
                FLUSHING,
                r"while \([^\n]*loaded_mm, cpu\)\) == LOADED_MM_SWITCHING\)\s+cpu_relax\(\);",
                "",
            ),
        ),
        scenario="""
cpus 3
pages 1
layout private
asids 2
machine invlpgb

cpu0 fork
cpu0 switch mm1
cpu2 switch mm1
cpu0 write p0
cpu0 mprotect p0 r until ack
cpu1 switch mm1 until cr3
cpu0 run
cpu0 switch mm1
cpu2 switch mm1
cpu2 mprotect p0 rw
cpu1 run
cpu1 write p0
cpu2 mprotect p0 r
cpu1 write p0
""",
        since=_FIRST,
        held_out=True,
    ),
    Bug(
        name="batch-forgets-broadcast",
        origin="own",
        mechanism="a batched unmap interrupts CPUs that use a global ASID, whose interrupt does nothing",
        reason="freed-frame-still-cached",
        edits=(Edit(RULE_HEADER, r"batch->unmapped_pages = true;", ""),),
        scenario="""
cpus 2
pages 1
layout private
asids 2
machine invlpgb

cpu0 write p0
cpu1 read p0
cpu0 mprotect p0 r
cpu0 switch mm0
cpu1 switch mm0
cpu1 read p0
cpu0 migrate p0 mm0
""",
        since=(7, 0),
    ),
)
