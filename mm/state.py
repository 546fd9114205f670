"""The state of the kernel and the machine between two steps, as plain data."""

from typing import Any, ClassVar, Final

from shootdown.machine.geometry import FRAMES, PAGES, TABLES
from shootdown.machine.plain import Plain
from shootdown.machine.x86 import Machine

Step = tuple[int, ...]
"""A step of a CPU: its code and its arguments (mm.step)."""

MMS: Final = 3
"""The number of address spaces: the first one and two more that fork can make."""
INIT_MM: Final = -1
SWITCHING: Final = -2
GONE_MM: Final = -3
"""The value in loaded_mm for a space whose last thread has exited while this CPU still has its top-level table."""
POKING_MM: Final = -4
"""The value in loaded_mm for the temporary address space of the kernel."""
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
"""The mark of a region that is newer than the last clear_refs: every page counts as written."""
VM_FILE: Final = 256
"""The mark of a shared mapping of the file, whose pages are written back to its backing store."""
VM_PFNMAP: Final = 512
"""The mark of a shared mapping of a driver's pages, to which its entries hold no reference (mm/pfnmap.py)."""
VM_PKEY_SHIFT: Final = 10
VM_PKEY: Final = 3 << VM_PKEY_SHIFT
"""The protection key of the region."""
VM_PGOFF_SHIFT: Final = 12
"""The position of the page's place in State.shared, or of its key in State.driver for a driver's region."""

ZERO_FRAME: Final = 0
"""The frame of the zero page, which read faults of private pages map, and which is never written and never freed."""

NO_HUGE_ZERO: Final = -2
"""The value in State.huge_zero if read faults of huge regions map memory (use_zero_page is 0)."""
HUGE_ZERO_FREE: Final = -1
"""The value in State.huge_zero if the huge zero page is not allocated."""

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

    COUNTERS: ClassVar[frozenset[str]] = frozenset({"costs", "executed", "stops"})

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
        """Begin with one address space without regions, which no CPU has loaded, or continue from `known`."""
        self.machine = machine
        # A FlushState. Its type is Any, so that the strategy that made it gets it back as its own type without a cast.
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
        # The CPUs that read page tables without a lock, with interrupts disabled, one bit each.
        self.walkers: int = known.walkers if known else 0
        # The PKRU of each thread, by CPU * MMS + address space, if it is not 0; the machine has the same values in its
        # registers for the threads that run.
        self.pkru: dict[int, int] = known.pkru.copy() if known else {}
        # Whether a kernel thread runs while the thread of task_mm sleeps; the flush code reads `lazy` (is_lazy).
        self.kthread: list[bool] = known.kthread.copy() if known else [False] * cpus
        self.root: list[int] = known.root.copy() if known else [-1] * MMS
        self.live: list[bool] = known.live.copy() if known else [False] * MMS
        # The top-level tables of dead address spaces, each with its number, until no CPU has them loaded.
        self.gone: list[tuple[int, int]] = known.gone.copy() if known else []
        # The top-level table of the temporary address space, -1 before its first use.
        self.poking: int = known.poking if known else -1
        self.vma: list[list[int]] = (
            [one.copy() for one in known.vma] if known else [[0] * PAGES, [0] * PAGES, [0] * PAGES]
        )
        self.mmap_lock: list[int] = known.mmap_lock.copy() if known else [0] * MMS
        # The locks of the VMAs: the number of readers that have found their VMA at mm * PAGES + page; and, by address
        # space, the pages of the VMAs that the writer of mmap_lock has locked for writing, one bit each (mm.locks).
        self.vma_readers: dict[int, int] = known.vma_readers.copy() if known else {}
        self.vma_written: list[int] = known.vma_written.copy() if known else [0] * MMS
        self.pmd_lock: list[int] = known.pmd_lock.copy() if known else [NOBODY] * MMS
        self.ptl: list[int] = known.ptl.copy() if known else [NOBODY] * (MMS * TABLES)
        self.free_frames: int = known.free_frames if known else (1 << FRAMES) - 2
        self.freed: list[int] = known.freed.copy() if known else []
        self.refs: list[int] = known.refs.copy() if known else [0] * FRAMES
        self.lazy_free: int = known.lazy_free if known else 0
        self.page_lock: int = known.page_lock if known else 0
        # The frames on another node than the threads that use them, one bit each: a hint fault migrates them.
        self.misplaced: int = known.misplaced if known else 0
        # The frames that ksmd has mapped at two pages of one space (PageKsm), one bit each, until they are freed.
        self.merged: int = known.merged if known else 0
        # The first frame of the huge zero page, or the reason why there is none.
        self.huge_zero: int = known.huge_zero if known else NO_HUGE_ZERO
        # The frames of shared memory: those of the anonymous object's pages, then those of the file (its page cache).
        self.shared: list[int] = known.shared.copy() if known else [-1] * (2 * PAGES)
        # The frames of the file, and those that must be written back (PG_dirty), one bit each; the content of its
        # backing store by place in `shared`, zeros elsewhere; the frame of its reverse map at mm * PAGES + page.
        self.file_frames: int = known.file_frames if known else 0
        self.dirty: int = known.dirty if known else 0
        self.disk: dict[int, int] = known.disk.copy() if known else {}
        self.rmap: dict[int, int] = known.rmap.copy() if known else {}
        # The frames of a driver's pages; the page that a region at mm * PAGES + page maps, while unmap_mapping_range
        # finds the region; the lock of these links, with the values of mmap_lock (mm.pfnmap).
        self.driver: dict[int, int] = known.driver.copy() if known else {}
        self.i_mmap: dict[int, int] = known.i_mmap.copy() if known else {}
        self.i_mmap_lock: int = known.i_mmap_lock if known else 0
        # By swap slot: its content, while that is the content of the page; the number of swap entries that name it; the
        # frame of its folio in the swap cache.
        self.swap: dict[int, int] = known.swap.copy() if known else {}
        self.swap_map: dict[int, int] = known.swap_map.copy() if known else {}
        self.swap_cache: dict[int, int] = known.swap_cache.copy() if known else {}
        self.stamp: int = known.stamp if known else 0
        # The points at which the CPU that runs may be paused (mm.step.POINT_BITS): a strategy whose steps are not made
        # here (kernel/) makes no step boundary where nobody could come in between.
        self.stops: int = 0
        self.executed: int = known.executed if known else 0
        self.costs: list[int] = known.costs.copy() if known else [0] * 5
