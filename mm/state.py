"""What the kernel and the machine are between two steps, as plain data."""

from typing import Any, ClassVar, Final

from shootdown.machine.geometry import FRAMES, PAGES, TABLES
from shootdown.machine.plain import Plain
from shootdown.machine.x86 import Machine

Step = tuple[int, ...]
"""A step of a CPU: its code and its arguments (mm.step)."""

MMS: Final = 3
"""Address spaces: the first one and two more that fork can make."""
INIT_MM: Final = -1
SWITCHING: Final = -2
GONE_MM: Final = -3
"""In loaded_mm: an address space whose last thread has exited while this CPU still has its top-level table loaded."""
POKING_MM: Final = -4
"""In loaded_mm: the temporary address space of the kernel."""
NOBODY: Final = -1
WRITER: Final = -1

# A region (VMA) is kept page by page; 0 means that no region covers the page.
VM_READ: Final = 1
VM_WRITE: Final = 2
VM_EXEC: Final = 4
VM_RIGHTS: Final = 7
VM_MAPPED: Final = 8
VM_SHARED: Final = 16
VM_HUGE: Final = 32
VM_UFFD_WP: Final = 64
VM_SOFTDIRTY: Final = 128
"""Every page counts as written: the region is newer than the last clear_refs."""
VM_FILE: Final = 256
"""A shared mapping of the file, whose pages are written back to its backing store."""
VM_PFNMAP: Final = 512
"""A shared mapping of a driver's pages, to which its entries hold no reference (mm/pfnmap.py)."""
VM_PKEY_SHIFT: Final = 10
VM_PKEY: Final = 3 << VM_PKEY_SHIFT
"""The protection key of the region."""
VM_PGOFF_SHIFT: Final = 12
"""Above it: the page's place in State.shared; of a driver's region its key in State.driver."""

ZERO_FRAME: Final = 0
"""The zero page: mapped by read faults of private pages, never written and never freed."""

NO_HUGE_ZERO: Final = -2
"""In State.huge_zero: read faults of huge regions map memory (use_zero_page is 0)."""
HUGE_ZERO_FREE: Final = -1
"""In State.huge_zero: the huge zero page is not allocated."""

# Indices into State.costs.
FLUSHES: Final = 0
"""Flush requests (flush_tlb_mm_range and its relatives)."""
IPIS: Final = 1
"""Interrupts sent to other CPUs."""
INVALIDATED: Final = 2
"""Page invalidations carried out, summed over CPUs; a full flush counts every page of the address space."""
FULL: Final = 3
"""Full flushes carried out, summed over CPUs."""
SPURIOUS: Final = 4
"""Spurious faults healed."""


class State(Plain):
    """Everything that a run changes.

    Lists are indexed by CPU (`steps`, `task_mm`, ...), by address space (`root`, `vma`, ...), by address space and
    table (`ptl`) or by frame (`refs`).
    """

    COUNTERS: ClassVar[frozenset[str]] = frozenset({"costs", "executed"})

    def __init__(
        self,
        machine: Machine,
        flush_state: Any,  # noqa: ANN401 (see below)
        *,
        cpus: int,
        pages: int,
        batch: int,
        known: "State | None" = None,
    ) -> None:
        """Begin with one address space, which no CPU has loaded and which has no region; or go on from `known`."""
        self.machine = machine
        # A FlushState. Any, so that the strategy that made it takes it back as its own type without the call of a cast.
        self.flush_state = flush_state
        self.cpus = cpus
        self.pages = pages
        self.batch = batch
        self.steps: list[list[Step]] = (
            [one.copy() for one in known.steps] if known else [[] for _ in range(cpus)]
        )
        self.op: list[int] = known.op.copy() if known else [-1] * cpus
        self.op_page: list[int] = known.op_page.copy() if known else [0] * cpus
        self.task_mm: list[int] = known.task_mm.copy() if known else [0] * cpus
        self.loaded_mm: list[int] = known.loaded_mm.copy() if known else [INIT_MM] * cpus
        self.lazy: list[bool] = known.lazy.copy() if known else [False] * cpus
        self.irqs_off: list[bool] = known.irqs_off.copy() if known else [False] * cpus
        # CPUs that read page tables without a lock, with interrupts disabled, a bit each.
        self.walkers: int = known.walkers if known else 0
        # By CPU * MMS + address space: PKRU of that thread, where it is not 0; of the threads that run, the
        # machine has the same in its registers.
        self.pkru: dict[int, int] = known.pkru.copy() if known else {}
        # A kernel thread runs, and the thread of task_mm sleeps; `lazy` is what the flush code knows of it (is_lazy).
        self.kthread: list[bool] = known.kthread.copy() if known else [False] * cpus
        self.root: list[int] = known.root.copy() if known else [-1] * MMS
        self.live: list[bool] = known.live.copy() if known else [False] * MMS
        # Top-level tables of address spaces that are no more, each with its number, until no CPU has them loaded.
        self.gone: list[tuple[int, int]] = known.gone.copy() if known else []
        # The top-level table of the temporary address space, -1 before its first use.
        self.poking: int = known.poking if known else -1
        self.vma: list[list[int]] = (
            [one.copy() for one in known.vma] if known else [[0] * PAGES, [0] * PAGES, [0] * PAGES]
        )
        self.mmap_lock: list[int] = known.mmap_lock.copy() if known else [0] * MMS
        # The locks of the VMAs: how many have looked one up at mm * PAGES + page and hold it for reading; by address
        # space, the pages of those that the writer of mmap_lock holds for writing, a bit each (mm.locks).
        self.vma_readers: dict[int, int] = known.vma_readers.copy() if known else {}
        self.vma_written: list[int] = known.vma_written.copy() if known else [0] * MMS
        self.pmd_lock: list[int] = known.pmd_lock.copy() if known else [NOBODY] * MMS
        self.ptl: list[int] = known.ptl.copy() if known else [NOBODY] * (MMS * TABLES)
        self.free_frames: int = known.free_frames if known else (1 << FRAMES) - 2
        self.freed: list[int] = known.freed.copy() if known else []
        self.refs: list[int] = known.refs.copy() if known else [0] * FRAMES
        self.lazy_free: int = known.lazy_free if known else 0
        self.page_lock: int = known.page_lock if known else 0
        # Frames on another node than the threads that use them, a bit each: a hint fault would migrate them.
        self.misplaced: int = known.misplaced if known else 0
        # Frames that ksmd has mapped at two pages of one address space (PageKsm), a bit each, until they are freed.
        self.merged: int = known.merged if known else 0
        # The first frame of the huge zero page, or why there is none.
        self.huge_zero: int = known.huge_zero if known else NO_HUGE_ZERO
        # The frames of shared memory: of the anonymous object's pages, then of the file's (its page cache).
        self.shared: list[int] = known.shared.copy() if known else [-1] * (2 * PAGES)
        # Of the file: its frames and those that are to be written back (PG_dirty), a bit each; what its backing store
        # holds by place in `shared`, zeros elsewhere; which frame the reverse map finds at mm * PAGES + page.
        self.file_frames: int = known.file_frames if known else 0
        self.dirty: int = known.dirty if known else 0
        self.disk: dict[int, int] = known.disk.copy() if known else {}
        self.rmap: dict[int, int] = known.rmap.copy() if known else {}
        # Of a driver: the frames of its pages; which of them a region at mm * PAGES + page maps, as long as
        # unmap_mapping_range finds the region; the lock of that, as mmap_lock (mm.pfnmap).
        self.driver: dict[int, int] = known.driver.copy() if known else {}
        self.i_mmap: dict[int, int] = known.i_mmap.copy() if known else {}
        self.i_mmap_lock: int = known.i_mmap_lock if known else 0
        # By swap slot: the content, while it is what the page contains; how many swap entries name it; the frame of its
        # folio in the swap cache.
        self.swap: dict[int, int] = known.swap.copy() if known else {}
        self.swap_map: dict[int, int] = known.swap_map.copy() if known else {}
        self.swap_cache: dict[int, int] = known.swap_cache.copy() if known else {}
        self.stamp: int = known.stamp if known else 0
        self.executed: int = known.executed if known else 0
        self.costs: list[int] = known.costs.copy() if known else [0] * 5
