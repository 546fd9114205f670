"""munmap: regions gone first, entries, flush, and only then frames and page tables."""

import pytest

from shootdown.machine.x86 import POISON_FREE
from tests.kernel import FLUSH, Kernel, R, W, cached_twice, prot, written


def test_the_order_of_steps() -> None:
    """Regions, gather, entries under the PTL, table unhooked, flush, free, and the lock released at the very end."""
    k = cached_twice()

    assert k.run(0, "munmap", 0, 4) == [
        "mmap_write_lock, do_vmi_align_munmap, mmap_write_downgrade",
        "tlb_gather_mmu",
        "zap_pmd_range",
        "pte_lock, flush_tlb_batched_pending",
        *["ptep_get_and_clear_full"] * 4,
        "pte_unlock",
        "free_pgtables",
        "tlb_finish_mmu",
        *FLUSH,
        "free the gather's batch",
        "dec_tlb_flush_pending",
        "mmap_read_unlock, return",
    ]


def test_the_region_is_gone() -> None:
    """Afterwards every access on every CPU ends with MAPERR; pages outside the range are untouched."""
    k = Kernel()
    values = [k.write(0, page) for page in range(4)]
    for page in range(4):
        k.read(1, page)
    k.run(0, "munmap", 1, 2)

    for cpu in (0, 1):
        assert [k.read(cpu, page) for page in range(4)] == [
            values[0],
            "MAPERR",
            "MAPERR",
            values[3],
        ]


def test_a_frame_is_freed_behind_the_flush() -> None:
    """Up to the last acknowledgement the frame keeps its content and its generation; then it is poisoned."""
    k = Kernel()
    value = k.write(0)
    k.read(1)
    frame = k.frame()
    k.start(0, "munmap")
    while k.next(0) != "free the gather's batch":
        assert k.journal.freed_frames == []
        assert k.w.machine.read_entry(frame, 0) == value
        k.step(0)
    assert not k.cached(0)
    assert not k.cached(1)
    k.step(0)

    assert k.journal.freed_frames == [frame]
    assert k.w.machine.read_entry(frame, 0) == POISON_FREE


def test_a_window_is_open_until_the_flush() -> None:
    """A CPU that has the page cached goes on reading and writing it until its own TLB is flushed."""
    k = written()
    k.write(1)
    k.start(0, "munmap", until="flush_tlb_mm_range")

    assert k.read(1) == 2
    assert k.write(1) == 3


def test_a_table_is_freed_when_no_region_needs_it() -> None:
    """The page table is freed with the last region above it, not before, and after the flush."""
    k = written()
    table = k.pmd() >> 12 & 3
    k.run(0, "munmap", 0, 3)
    assert k.journal.freed_tables == []
    assert k.pmd()

    k.run(0, "munmap", 3, 1)
    assert k.journal.freed_tables == [table]
    assert k.pmd() == 0


def test_each_table_is_freed_by_itself() -> None:
    """A range over two tables frees both."""
    k = Kernel(pages=8)
    k.write(0, 0)
    k.write(0, 7)
    k.run(0, "munmap", 0, 8)

    assert len(k.journal.freed_tables) == 2
    assert (k.pmd(0), k.pmd(1)) == (0, 0)


def test_freed_tables_reach_lazy_cpus() -> None:
    """A flush that frees page tables interrupts a lazy CPU, which leaves the address space."""
    k = Kernel()
    k.read(1)
    k.run(1, "lazy")
    k.run(0, "munmap", 0, 4)

    assert k.w.loaded_mm[1] == -1
    assert k.w.machine.cr3[1] == -1


def test_without_freed_tables_lazy_cpus_are_left_alone() -> None:
    """A lazy CPU is not interrupted for pages alone; it catches up when it wakes."""
    k = Kernel()
    k.read(1)
    k.run(1, "lazy")
    k.run(0, "munmap", 0, 1)
    assert k.w.loaded_mm[1] == 0
    assert k.cached(1)

    assert k.read(1) == "MAPERR"


def test_holes_are_passed_over() -> None:
    """Unmapping a hole succeeds and opens no gather."""
    k = Kernel(layout="empty")

    assert k.run(0, "munmap", 0, 4) == [
        "mmap_write_lock, do_vmi_align_munmap, mmap_write_downgrade",
        "mmap_read_unlock, return",
    ]


def test_pages_that_were_never_touched_need_no_flush() -> None:
    """A region without a page table is unmapped without a flush, and its pages count as visited."""
    k = Kernel()
    names = k.run(0, "munmap", 0, 4)

    assert "flush_tlb_mm_range" not in names
    assert [visit[2] for visit in k.journal.visited] == [0, 1, 2, 3]


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_a_full_batch_is_flushed_and_freed_outside_the_table_lock(batch: int) -> None:
    """When the batch is full, the walk releases the PTL, flushes, frees, and takes the PTL again for the rest."""
    k = Kernel(batch=batch)
    frames = []
    for page in range(4):
        k.write(0, page)
        frames.append(k.frame(page))
    names = k.run(0, "munmap", 0, 4)

    assert names.count("tlb_flush_mmu") == 4 // batch
    locks = names.count("pte_lock, flush_tlb_batched_pending")
    assert locks == names.count("pte_unlock") == -(-4 // batch)
    for i, name in enumerate(names):
        if name == "tlb_flush_mmu":
            assert names[i - 1] == "pte_unlock"
    assert sorted(k.journal.freed_frames) == sorted(frames)


def test_a_freed_frame_is_reused_at_once() -> None:
    """The next page that is populated gets the frame that munmap freed, zeroed."""
    k = Kernel()
    k.write(0, 0)
    frame = k.frame(0)
    k.run(0, "munmap", 0, 1)

    assert k.write(1, 1)
    assert k.frame(1) == frame
    assert k.read(0, 1) == 2


def test_unmapping_and_mapping_again_gives_zeros() -> None:
    """A new private mapping at an old place has none of the old content."""
    k = cached_twice()
    k.run(0, "munmap")
    k.run(0, "mmap", 0, 1, prot(R | W))

    assert k.read(1) == 0


@pytest.mark.parametrize("first", [0, 4])
def test_freeing_a_table_waits_for_its_lock(first: int) -> None:
    """A kernel thread that is inside the table keeps it from being unhooked."""
    k = Kernel(pages=8)
    k.write(0, first)
    k.start(0, "munmap", first, 4, until="free_pgtables")
    k.start(1, "age", first, past="pte_lock")

    assert not k.step(0)
    k.past(1, "pte_unlock")
    assert k.step(0)
