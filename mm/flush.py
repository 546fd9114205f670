"""The seam between the memory manager and a flush strategy.

The memory manager decides what changes in the page tables; a strategy decides which TLBs are invalidated, and when.
Both the reference (flush at every change) and the optimized model (mmu_gather with a need-flush rule) implement
FlushStrategy.
A strategy has no state of its own: what it must remember is in `world.flush_state`, so that a world stays plain data.
A method that takes time pushes steps before the rest of the CPU's steps.
"""

from typing import Final, Protocol, TypeVar

from shootdown.mm.fault_handler import FaultHandler
from shootdown.mm.state import State, Step

W_contra = TypeVar("W_contra", bound=State, contravariant=True)
"""The world that a strategy works on, which knows its strategy: mm.world.World."""

COPY: Final = 0
INSTALL: Final = 1
UNLOCK: Final = 2
FREE: Final = 3
RETURN: Final = 4
PAGEOUT: Final = 5
SUBMIT: Final = 6
"""Points at which a deferred flush may be due: before a frame is copied, before a new entry is installed, before a lock
is released, before a frame is freed, before the operation returns, before reclaim writes a dirty page to swap, before
it writes one to its file."""


class Walk(Protocol):
    """A walk over a world that makes its key in a proof, in which nothing may depend on a name.

    A state that a strategy adds writes itself into it: numbers that mean the same in every world as they are (an
    address space, a page, a count), all else by what these methods return for it.
    """

    def write(self, *facts: int) -> None:
        """Append numbers to the key."""

    def frame(self, frame: int) -> int:
        """Return the name of a frame."""
        ...

    def turned(self, mask: int, cpus: int) -> int:
        """Return a mask of CPUs, a bit each, as it is if the CPUs are rotated."""
        ...

    def generation(self, mm: int, generation: int) -> int:
        """Return a generation of an address space by its distance from the newest one."""
        ...

    def epoch(self, epoch: int) -> None:
        """Write what was postponed to an epoch that has not ended; a state does so once for each, in its own order."""


class FlushState(Protocol):
    """The mutable part of a strategy, in the world.

    A strategy that must remember something of its own extends optimized.state.X86State, with fields set
    in `__init__` and `write` extended, and makes one in `new_state`; optimized/latr.py is an example.
    """

    def write(self, walk: Walk, cpus: int) -> None:
        """Write what the strategy has added to the state, for the key of a world of that many CPUs."""

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
    """mmu_gather: what is recorded while an operation changes entries, and flushed before it frees or returns."""

    def gather_begin(self, w: W_contra, cpu: int, mm: int) -> None:
        """tlb_gather_mmu: open the CPU's gather."""
        ...

    def protection_changed(
        self, w: W_contra, cpu: int, mm: int, page: int, old: int, new: int
    ) -> None:
        """change_pte_range replaced `old` by `new`, under the PTL and inside a gather."""
        ...

    def entry_cleared(
        self, w: W_contra, cpu: int, mm: int, page: int, count: int, old: int, new: int
    ) -> None:
        """tlb_remove_tlb_entry: a zap or MADV_FREE replaced `old` by `new` for `count` pages, inside a gather."""
        ...

    def page_removed(self, w: W_contra, cpu: int, frame: int) -> bool:
        """__tlb_remove_page: queue a reference to be dropped after the flush; return whether the batch is full."""
        ...

    def dirty_folio_unmapped(self, w: W_contra, cpu: int, mm: int, page: int) -> None:
        """A zap cleared a dirty entry of the file, under the PTL: have it flushed, and then its rmap dropped."""
        ...

    def pfn_vma_unmapped(self, w: W_contra, cpu: int) -> None:
        """tlb_end_vma: of a driver's region, which is about to leave i_mmap, every entry was cleared in the gather."""
        ...

    def gather_flush(self, w: W_contra, cpu: int) -> None:
        """tlb_flush_mmu: flush what is recorded and free the batch; the gather stays open."""
        ...

    def gather_finish(self, w: W_contra, cpu: int) -> None:
        """tlb_finish_mmu: flush, free and close the CPU's gather."""
        ...

    def gather_finish_free(self, w: W_contra, cpu: int) -> None:
        """As gather_finish, of a munmap or MADV_DONTNEED, by which the program has given up what it had there."""
        ...


class PageTables(Protocol[W_contra]):
    """Page tables that go, and who may still walk them."""

    def table_removed(self, w: W_contra, cpu: int, mm: int, index: int, frame: int) -> None:
        """pte_free_tlb: queue a page table to be freed after the flush."""
        ...

    def table_reclaimed(self, w: W_contra, cpu: int, mm: int, index: int, frame: int) -> None:
        """pte_free_tlb of a page table that MADV_DONTNEED has emptied, and whose region stays."""
        ...

    def upper_tables_removed(self, w: W_contra, cpu: int) -> None:
        """free_pgd_range of a whole address space: queue the levels between the top-level table and the PMD tables."""
        ...

    def faulted_table(self, w: W_contra, mm: int, index: int, pmd: int) -> int:
        """pmd_same: return the frame of the page table that a fault fills, which has read `pmd` before it took the PTL;
        -1 when another one, or none, is hooked in by now.
        """
        ...

    def collapse_syncs(self) -> bool:
        """Return whether a collapse that has taken a page table out waits for lockless walkers before it copies."""
        ...

    def collapse_defers_free(self) -> bool:
        """Return whether a collapse waits for lockless walkers before it frees the page table."""
        ...

    def pmd_checked_again(self) -> bool:
        """Return whether a lockless walker that has taken a reference looks at the PMD again."""
        ...


class HugePages(Protocol[W_contra]):
    """Leaves of 2 MiB, which are flushed inside the PMD lock or not."""

    def huge_inline(self) -> bool:
        """Return whether a huge PMD is flushed inside the PMD lock, between its invalidation and its new value."""
        ...

    def huge_invalid(self, pmd: int) -> int:
        """Return what stands in the place of a huge PMD while its protection changes."""
        ...

    def huge_changed(self, w: W_contra, cpu: int, mm: int, page: int, old: int, new: int) -> None:
        """change_huge_pmd replaced `old` by `new`, under the PMD lock and inside a gather."""
        ...

    def replacing_huge(self, w: W_contra, cpu: int, mm: int, index: int) -> None:
        """Called under the PMD lock before the entry of a migrated huge page, in no TLB, gives way to its copy's."""
        ...

    def asks_unlocked(self) -> bool:
        """Return whether a hint fault on a huge page asks pte_accessible before the PMD lock and not under it."""
        ...


class Deferral(Protocol[W_contra]):
    """Flushes outside a gather: put off to a point of the operation, or to the first operation that needs them."""

    def defer(self, w: W_contra, cpu: int, mm: int, first: int, count: int) -> None:
        """Note that `count` pages from `first` were changed and must be flushed by the operation's next due point."""
        ...

    def defer_page(self, w: W_contra, cpu: int, mm: int, page: int) -> None:
        """As defer, for the flush_tlb_page of one page, which leaves lazy CPUs alone."""
        ...

    def defer_unmap(self, w: W_contra, cpu: int, mm: int, page: int) -> None:
        """set_tlb_ubc_flush_pending: as defer, for an unmap through the rmap that other CPUs must be able to see."""
        ...

    def soft_dirty_cleared(self, w: W_contra, cpu: int, mm: int) -> None:
        """clear_refs has write-protected all of `mm`, which must be flushed by the operation's return."""
        ...

    def due(self, w: W_contra, cpu: int, point: int) -> None:
        """Flush what the operation deferred, if `point` is where this strategy holds it due."""
        ...

    def flush_batched_pending(self, w: W_contra, cpu: int, mm: int) -> None:
        """flush_tlb_batched_pending: under a PTL, flush what another CPU's unmap has deferred."""
        ...

    def flush_pending(self, w: W_contra, mm: int) -> bool:
        """mm_tlb_flush_pending: some gather of `mm` is open."""
        ...

    def pte_accessible(self, w: W_contra, mm: int, entry: int) -> bool:
        """pte_accessible: a TLB may hold the entry, which is PRESENT, or PROTNONE with a flush pending."""
        ...

    def pending_before_merge(self, w: W_contra, mm: int) -> bool:
        """mm_tlb_flush_pending, as write_protect_page asks it of an entry that looks clean and read-only."""
        ...

    def addresses_reused(self, w: W_contra, cpu: int, mm: int) -> None:
        """Addresses of `mm` at which nothing is mapped are about to be mapped again, under mmap_lock for writing."""
        ...


class Immediate(Protocol[W_contra]):
    """Flushes at once."""

    def pte_stored(self, w: W_contra, cpu: int, mm: int, page: int) -> None:
        """Called after every store to an entry that translates `page` (every page of a huge entry)."""
        ...

    def flush_range(self, w: W_contra, cpu: int, mm: int, first: int, count: int) -> None:
        """flush_tlb_range, now; of a single page flush_tlb_page."""
        ...

    def spurious_fault(self, w: W_contra, cpu: int, mm: int) -> None:
        """flush_tlb_fix_spurious_fault: the handler has found nothing to change."""
        ...


class Contexts(Protocol[W_contra]):
    """Address spaces that CPUs load, leave and forget."""

    def boot(self, w: W_contra, cpu: int, mm: int) -> None:
        """Load `mm` on a CPU before the run begins, without steps."""
        ...

    def switch_mm(self, w: W_contra, cpu: int, mm: int) -> None:
        """switch_mm_irqs_off: load `mm` on the CPU, leaving lazy mode."""
        ...

    def in_temporary_mm(self, w: W_contra, cpu: int, inside: Step) -> None:
        """use_temporary_mm, the step `inside`, unuse_temporary_mm: all with interrupts disabled."""
        ...

    def tick(self, w: W_contra, cpu: int) -> None:
        """The CPU has its timer interrupt."""
        ...

    def mm_freed(self, w: W_contra, mm: int) -> None:
        """destroy_context: nothing that was cached for `mm` is used again, and a new address space gets its number."""
        ...

    def quiesce(self, w: W_contra) -> None:
        """Do what this strategy has put off to a later context switch, so that only live entries remain."""
        ...


class Feedback(Protocol[W_contra]):
    """What campaigns and reports ask of a strategy."""

    def tag_owner(self, w: W_contra, cpu: int, pcid: int) -> int:
        """Return the address space whose translations the CPU would use under the PCID, -1 for none."""
        ...

    def variable(self, w: W_contra, cpu: int) -> int:
        """Return the state variable that the strategy declares for feedback, 0 to 11: what it remembers of the CPU."""
        ...

    def behind(self, w: W_contra, mm: int) -> tuple[int, int]:
        """Return how many flushes of `mm` the most outdated TLB lacks, for feedback: of the CPUs on which `mm` is
        loaded, 0 to 3, and of those that keep its context for later, 0 to 15.
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
    """Decides which TLBs are invalidated, and when."""

    handler: FaultHandler
    """The page-fault handler that the strategy lives with."""
    soft_dirty_check: bool
    """mprotect leaves a page write-protected whose first store has to be seen ("mm/mprotect: fix soft-dirty check")."""
    report_spurious: bool
    """The fault handler delivers a protection fault that it finds already healed; no kernel should."""

    def new_state(self, cpus: int, asids: int, batch: int) -> FlushState:
        """Return the state of a world in which nothing is pending."""
        ...
