"""The seam between the memory manager and a flush strategy.

The memory manager decides what changes in the page tables; a strategy decides which TLBs are invalidated, and when.
Both the reference (flush at every change) and the optimized model (mmu_gather with a need-flush rule) implement
FlushStrategy.
A strategy object has no state: its state is in `world.flush_state`, so that a world stays plain data.
A method that takes time pushes steps before the rest of the CPU's steps.
"""

from typing import ClassVar, Final, Protocol, TypeVar

from shootdown.mm.fault_handler import FaultHandler
from shootdown.mm.state import State, Step

W_contra = TypeVar("W_contra", bound=State, contravariant=True)
"""The world of a strategy, which knows its strategy: mm.world.World."""

COPY: Final = 0
INSTALL: Final = 1
UNLOCK: Final = 2
FREE: Final = 3
RETURN: Final = 4
PAGEOUT: Final = 5
SUBMIT: Final = 6
"""The points at which a deferred flush may be due: before a frame is copied, before a new entry is installed, before a
lock is released, before a frame is freed, before the operation returns, before reclaim writes a dirty page to swap,
before it writes one to its file.
"""


class Walk(Protocol):
    """A walk over a world that computes its key in a proof, in which nothing may depend on a name.

    A state that a strategy adds writes itself into it: numbers with the same meaning in every world (an address space,
    a page, a count) unchanged, everything else by the values that these methods return for it.
    """

    def write(self, *facts: int) -> None:
        """Append numbers to the key."""

    def frame(self, frame: int) -> int:
        """Return the name of a frame."""
        ...

    def turned(self, mask: int, cpus: int) -> int:
        """Return a mask of CPUs, one bit each, after the CPUs are rotated."""
        ...

    def generation(self, mm: int, generation: int) -> int:
        """Return the distance of a generation of an address space from the newest one."""
        ...

    def epoch(self, epoch: int) -> None:
        """Write the work that is postponed to an epoch that has not ended.

        A state calls this once for each epoch, in its own order.
        """


class FlushState(Protocol):
    """The mutable part of a strategy, in the world.

    A strategy with its own state extends optimized.state.X86State: it sets fields in `__init__`, extends `write`, and
    returns an object from `new_state`. optimized/latr.py is an example.
    """

    opaque: ClassVar[bool]
    """In a proof only the state itself knows what it is: the walk reads none of its fields, `write` writes all of it,
    and CPUs and frames, which it may contain anywhere, keep their numbers.
    """

    def write(self, walk: Walk, cpus: int) -> None:
        """Write the state that the strategy has added, for the key of a world of that many CPUs."""

    def copy(self) -> "FlushState":
        """Return an equal state that shares no mutable part with this one."""
        ...

    def key(self) -> tuple[object, ...]:
        """Return a hashable value, equal for equal states."""
        ...

    def count_open(self, mm: int) -> int:
        """Return how many flushes of `mm` are recorded or deferred and not yet done, for features and reports."""
        ...


class Gathers(Protocol[W_contra]):
    """mmu_gather: the changes that an operation records, and flushes before it frees or returns."""

    def gather_begin(self, w: W_contra, cpu: int, mm: int) -> None:
        """Open the CPU's gather (tlb_gather_mmu)."""
        ...

    def protection_changed(
        self, w: W_contra, cpu: int, mm: int, page: int, old: int, new: int
    ) -> None:
        """change_pte_range replaced `old` by `new`, under the PTL and inside a gather."""
        ...

    def entry_cleared(
        self, w: W_contra, cpu: int, mm: int, page: int, count: int, old: int, new: int
    ) -> None:
        """A zap or MADV_FREE replaced `old` by `new` for `count` pages, inside a gather (tlb_remove_tlb_entry)."""
        ...

    def page_removed(self, w: W_contra, cpu: int, frame: int, count: int) -> bool:
        """Queue the references of a page of `count` frames, to be dropped after the flush; return whether the batch is
        full (__tlb_remove_page).
        """
        ...

    def dirty_folio_unmapped(self, w: W_contra, cpu: int, mm: int, page: int) -> None:
        """Flush a dirty entry of the file that a zap has cleared under the PTL, and drop its rmap after that."""
        ...

    def pfn_vma_unmapped(self, w: W_contra, cpu: int) -> None:
        """Every entry of a driver's region, which is about to leave i_mmap, was cleared in the gather (tlb_end_vma)."""
        ...

    def gather_flush(self, w: W_contra, cpu: int) -> None:
        """Flush the recorded pages and free the batch; the gather stays open (tlb_flush_mmu)."""
        ...

    def gather_finish(self, w: W_contra, cpu: int) -> None:
        """Flush, free and close the CPU's gather (tlb_finish_mmu)."""
        ...

    def gather_finish_free(self, w: W_contra, cpu: int) -> None:
        """Finish as gather_finish does, for a munmap or MADV_DONTNEED: the program has given up its pages."""
        ...


class PageTables(Protocol[W_contra]):
    """Page tables that are removed, and the walkers that may still use them."""

    def table_removed(self, w: W_contra, cpu: int, mm: int, index: int, frame: int) -> None:
        """Queue a page table to be freed after the flush (pte_free_tlb)."""
        ...

    def table_reclaimed(self, w: W_contra, cpu: int, mm: int, index: int, frame: int) -> None:
        """Queue a page table that MADV_DONTNEED has emptied, and whose region stays (pte_free_tlb)."""
        ...

    def upper_tables_removed(self, w: W_contra, cpu: int) -> None:
        """Queue the levels between the top-level table and the PMD tables of an address space (free_pgd_range)."""
        ...

    def faulted_table(self, w: W_contra, mm: int, index: int, pmd: int) -> int:
        """Return the frame of the page table that a fault fills, which read `pmd` before it took the PTL (pmd_same).

        Return -1 if another table, or none, is in its place by now.
        """
        ...

    def collapse_syncs(self) -> bool:
        """Return whether a collapse that has taken a page table out waits for lockless walkers before it copies."""
        ...

    def collapse_defers_free(self) -> bool:
        """Return whether a collapse waits for lockless walkers before it frees the page table."""
        ...

    def pmd_checked_again(self) -> bool:
        """Return whether a lockless walker that has taken a reference reads the PMD again."""
        ...


class HugePages(Protocol[W_contra]):
    """Leaves of 2 MiB, which are flushed inside the PMD lock or outside it."""

    def huge_inline(self) -> bool:
        """Return whether a huge PMD is flushed inside the PMD lock, between its invalidation and its new value."""
        ...

    def huge_invalid(self, pmd: int) -> int:
        """Return the entry in the place of a huge PMD while its protection changes."""
        ...

    def huge_changed(self, w: W_contra, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        """change_huge_pmd replaced `old` by `new`, under the PMD lock and inside a gather."""
        ...

    def replacing_huge(self, w: W_contra, cpu: int, mm: int, index: int) -> None:
        """The entry of a migrated huge page, in no TLB, is about to be replaced by its copy's, under the PMD lock."""
        ...

    def asks_unlocked(self) -> bool:
        """Return whether a hint fault on a huge page calls pte_accessible before the PMD lock, not under it."""
        ...


class Deferral(Protocol[W_contra]):
    """Flushes outside a gather: postponed to a point of the operation, or to the first operation that needs them."""

    def defer(self, w: W_contra, cpu: int, mm: int, first: int, count: int) -> None:
        """Note that `count` pages from `first` were changed and must be flushed by the operation's next due point."""
        ...

    def defer_page(self, w: W_contra, cpu: int, mm: int, page: int) -> None:
        """Defer, as `defer` does, the flush_tlb_page of one page, which leaves lazy CPUs alone."""
        ...

    def defer_unmap(self, w: W_contra, cpu: int, mm: int, page: int) -> None:
        """Defer the flush of an unmap through the rmap so that other CPUs can see it (set_tlb_ubc_flush_pending)."""
        ...

    def soft_dirty_cleared(self, w: W_contra, cpu: int, mm: int) -> None:
        """clear_refs has write-protected all of `mm`, which must be flushed by the operation's return."""
        ...

    def due(self, w: W_contra, cpu: int, point: int) -> None:
        """Flush the pages that the operation deferred, if they are due at `point` in this strategy."""
        ...

    def flush_batched_pending(self, w: W_contra, cpu: int, mm: int) -> None:
        """Flush, under a PTL, the pages that another CPU's unmap has deferred (flush_tlb_batched_pending)."""
        ...

    def flush_pending(self, w: W_contra, mm: int) -> bool:
        """Return whether some gather of `mm` is open (mm_tlb_flush_pending)."""
        ...

    def pte_accessible(self, w: W_contra, mm: int, entry: int) -> bool:
        """Return whether a TLB may hold the entry: it is PRESENT, or PROTNONE with a flush pending (pte_accessible)."""
        ...

    def pending_before_merge(self, w: W_contra, mm: int) -> bool:
        """Return mm_tlb_flush_pending as write_protect_page uses it, for an entry that looks clean and read-only."""
        ...

    def addresses_reused(self, w: W_contra, cpu: int, mm: int) -> None:
        """Addresses of `mm` that have no mapping are about to be mapped again, under mmap_lock for writing."""
        ...


class Immediate(Protocol[W_contra]):
    """Flushes that are done at once."""

    def pte_stored(self, w: W_contra, cpu: int, mm: int, page: int) -> None:
        """A store has changed an entry that translates `page` (called for every page of a huge entry)."""
        ...

    def flush_range(self, w: W_contra, cpu: int, mm: int, first: int, count: int) -> None:
        """Flush a range now (flush_tlb_range; flush_tlb_page for a single page)."""
        ...

    def spurious_fault(self, w: W_contra, cpu: int, mm: int) -> None:
        """The handler has found nothing to change (flush_tlb_fix_spurious_fault)."""
        ...


class Contexts(Protocol[W_contra]):
    """Address spaces that CPUs load, leave and forget."""

    def boot(self, w: W_contra, cpu: int, mm: int) -> None:
        """Load `mm` on a CPU before the run begins, without steps."""
        ...

    def switch_mm(self, w: W_contra, cpu: int, mm: int) -> None:
        """Load `mm` on the CPU, and leave lazy mode (switch_mm_irqs_off)."""
        ...

    def enter_lazy(self, w: W_contra, cpu: int) -> None:
        """A kernel thread borrows the space that the CPU has loaded (enter_lazy_tlb)."""
        ...

    def set_interrupts(self, w: W_contra, cpu: int, *, disabled: bool) -> None:
        """The CPU disables or enables its interrupts, outside a flush or a switch (local_irq_save)."""
        ...

    def in_temporary_mm(self, w: W_contra, cpu: int, inside: Step) -> None:
        """Execute use_temporary_mm, the step `inside` and unuse_temporary_mm, all with interrupts disabled."""
        ...

    def tick(self, w: W_contra, cpu: int) -> None:
        """The CPU has its timer interrupt."""
        ...

    def mm_freed(self, w: W_contra, mm: int) -> None:
        """Forget `mm`, whose cached entries are not used again: a new space gets its number (destroy_context)."""
        ...

    def quiesce(self, w: W_contra) -> None:
        """Do the work that this strategy has postponed to a later context switch, so that only live entries remain."""
        ...


class Feedback(Protocol[W_contra]):
    """The state of a strategy that campaigns and reports read."""

    def tag_owner(self, w: W_contra, cpu: int, pcid: int) -> int:
        """Return the address space whose translations the CPU uses under the PCID, -1 for none."""
        ...

    def points(self) -> tuple[str, ...]:
        """Return the points (mm.step.Point) at which a CPU can stop under this strategy, for the inputs of a campaign.

        They include those of the memory manager's own steps (mm.step.points_of_models).
        """
        ...

    def variable(self, w: W_contra, cpu: int) -> int:
        """Return the state variable that the strategy declares for feedback, 0 to 11: its state for the CPU."""
        ...

    def watched(self) -> "FlushStrategy[W_contra]":
        """Return a strategy that makes the same runs, for a run that is watched: it may know more of what it does."""
        ...

    def step_name(self, w: W_contra, cpu: int, s: Step) -> str:
        """Return the name of a step that the CPU is about to make, for people."""
        ...

    def behind(self, w: W_contra, mm: int) -> tuple[int, int]:
        """Return how many flushes of `mm` the most outdated TLB lacks, for feedback: among the CPUs on which `mm` is
        loaded, 0 to 3, and among those that keep its context for later, 0 to 15.
        """
        ...


class FlushStrategy(
    Gathers[W_contra],
    PageTables[W_contra],
    HugePages[W_contra],
    Deferral[W_contra],
    Immediate[W_contra],
    Contexts[W_contra],
    Feedback[W_contra],
    Protocol[W_contra],
):
    """A strategy, which decides which TLBs are invalidated, and when."""

    handler: FaultHandler
    """The page-fault handler of the kernel with this strategy."""
    soft_dirty_check: bool
    """Whether mprotect leaves a page write-protected if its first store must be seen ("mm/mprotect: fix soft-dirty
    check").
    """
    report_spurious: bool
    """Whether the fault handler delivers a protection fault that is already healed; no kernel should."""

    def new_state(self, cpus: int, asids: int, batch: int) -> FlushState:
        """Return the state of a world in which nothing is pending."""
        ...
