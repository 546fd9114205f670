"""Transparent huge pages: mapped by a fault, changed and dropped whole, split when a part changes."""

import pytest

from shootdown.machine.entry import ACCESSED, DIRTY, NX, PRESENT, PROTNONE, PSE, RW, USER
from shootdown.machine.geometry import FANOUT, frame_of
from shootdown.mm.mmap import HUGE
from shootdown.mm.state import SPURIOUS
from shootdown.mm.thp import mkinvalid
from tests.kernel import FLUSH, Kernel, R, W, X, prot, written


def huge(policy: str = "linux", cpus: int = 2, pages: int = 4) -> Kernel:
    """Return a kernel with one huge page that CPU 0 stored to, page by page: the value of page i is i + 1."""
    k = Kernel(policy, cpus=cpus, layout="huge", pages=pages)
    for page in range(FANOUT):
        k.write(0, page)
    return k


def values(k: Kernel, cpu: int = 1) -> list[int | str]:
    """Return what a CPU reads from the four pages."""
    return [k.read(cpu, page) for page in range(FANOUT)]


def test_a_fault_maps_the_whole_page() -> None:
    """One store maps four frames of a block by one leaf, writable and dirty; the other pages are zero."""
    k = Kernel(layout="huge")
    value = k.write(0, 2)
    assert k.names[0].count("page fault") == 1

    assert k.pmd() & (PRESENT | PSE | RW | USER | DIRTY) == PRESENT | PSE | RW | USER | DIRTY
    assert frame_of(k.pmd()) % FANOUT == 0
    assert values(k) == [0, 0, value, 0]


def test_two_faults_map_it_once() -> None:
    """Of two CPUs that find no entry, the second one uses what the first has mapped."""
    k = Kernel(layout="huge")
    for cpu in (0, 1):
        k.start(cpu, "write", cpu)
    k.until(0, "do_huge_pmd_anonymous_page")
    k.until(1, "pmd_lock")
    k.finish(0)
    leaf, free = k.pmd(), k.w.free_frames
    k.finish(1)

    assert (k.pmd(), k.w.free_frames) == (leaf, free)
    assert values(k)[:2] == [1, 2]


def test_a_read_maps_it_read_only() -> None:
    """A load maps the huge page without RW and DIRTY; the first store adds both, and splits nothing."""
    k = Kernel(layout="huge")
    k.read(0)
    assert k.pmd() & (PSE | RW | DIRTY) == PSE
    k.write(0)

    assert k.pmd() & (PSE | RW | DIRTY) == PSE | RW | DIRTY


def test_a_region_that_does_not_cover_2_mib_gets_small_pages() -> None:
    """Huge pages need one region over the whole 2 MiB: with three pages, or with two rights, a page table is used."""
    short = Kernel(layout="huge", pages=3)
    short.write(0)
    mixed = Kernel(layout="huge")
    mixed.run(0, "mprotect", 0, 1, R)
    mixed.write(0, 1)

    assert not short.pmd() & PSE
    assert not mixed.pmd() & PSE


def test_without_a_free_block_the_fault_falls_back() -> None:
    """When no block is free, the page is populated with a small frame."""
    k = Kernel(layout="huge")
    k.w.free_frames &= ~0x1111111111111111
    value = k.write(0)

    assert not k.pmd() & PSE
    assert k.read(1) == value


@pytest.mark.parametrize("rights", range(8))
def test_the_whole_is_protected_as_one(rights: int) -> None:
    """A protection change of all four pages keeps the leaf, with the bits of its region."""
    k = Kernel(layout="empty")
    k.run(0, "mmap", 0, 4, prot(R | W | X, HUGE))
    k.write(0)
    k.run(0, "mprotect", 0, 4, rights)
    leaf = k.pmd()

    assert leaf & PSE
    if rights:
        assert leaf & (PRESENT | USER) == PRESENT | USER
        assert bool(leaf & RW) == bool(rights & W)
        assert bool(leaf & NX) == (not rights & X)
    else:
        assert leaf & (PRESENT | PROTNONE | ACCESSED) == PROTNONE | ACCESSED


def test_an_inline_flush_comes_between_invalidation_and_commit() -> None:
    """With the posted series a huge page is flushed under the PMD lock, before it has its new value."""
    k = huge("v1")
    k.read(1)
    names = k.run(0, "mprotect", 0, 4, R)

    start = names.index("pmd_lock")
    assert names[start : names.index("pmd_unlock") + 1] == [
        "pmd_lock",
        "change_huge_pmd",
        *FLUSH,
        "set_pmd_at",
        "pmd_unlock",
    ]
    assert names.count("flush_tlb_mm_range") == 1


def test_the_merged_series_records_a_huge_page() -> None:
    """With the newest rule the gather flushes a huge page, after the lock."""
    k = huge()
    k.read(1)
    names = k.run(0, "mprotect", 0, 4, R)

    assert names.count("flush_tlb_mm_range") == 1
    assert names.index("pmd_unlock") < names.index("flush_tlb_mm_range")
    assert not k.cached(1)


def test_a_promoted_huge_page_is_skipped() -> None:
    """A huge page that only gains rights is not flushed by v3, whose rule for huge pages is its own."""
    k = huge("v3")
    k.run(0, "mprotect", 0, 4, R)
    names = k.run(0, "mprotect", 0, 4, R | W)

    assert "flush_tlb_mm_range" not in names
    assert isinstance(k.write(1), int)


def test_a_spurious_fault_on_a_huge_page_is_healed() -> None:
    """A huge page that was promoted without a flush costs one fault, which is counted and changes nothing."""
    k = huge("v3")
    k.run(0, "mprotect", 0, 4, R)
    k.read(1)
    k.run(0, "mprotect", 0, 4, R | W)
    leaf = k.pmd()

    assert isinstance(k.write(1), int)
    assert k.w.costs[SPURIOUS] == k.names[1].count("page fault") == 1
    assert k.pmd() == leaf


def test_an_invalidated_leaf_is_not_none() -> None:
    """Between invalidation and commit the entry is not present, but not a hole: DONTNEED waits for it
    (ced108037c2a).
    """
    k = huge()
    k.run(0, "uffd_register", 0, 4)
    k.start(0, "uffd_wp", 0, 4, past="change_huge_pmd")
    assert k.pmd() & (PSE | PRESENT | PROTNONE) == PSE
    k.start(1, "dontneed", 0, 4, until="pmd_lock")
    assert not k.step(1)
    k.finish(1)

    assert k.pmd() == 0
    assert values(k) == [0, 0, 0, 0]


def test_mkinvalid_clears_what_maps() -> None:
    """Invalidation clears PRESENT and PROTNONE and nothing else."""
    leaf = PRESENT | PROTNONE | PSE | RW | DIRTY

    assert mkinvalid(leaf) == PSE | RW | DIRTY


def test_a_part_splits_the_page() -> None:
    """A change of one page puts a page table in place of the leaf: same frames, same content, other pages unchanged."""
    k = huge()
    first = frame_of(k.pmd())
    leaf = k.pmd()
    k.run(0, "mprotect", 1, 1, R)

    assert not k.pmd() & PSE
    assert [k.frame(page) for page in range(FANOUT)] == list(range(first, first + FANOUT))
    assert [bool(k.pte(page) & RW) for page in range(FANOUT)] == [True, False, True, True]
    assert k.pte(0) & 0xF7F == leaf & 0xF7F
    assert values(k) == [1, 2, 3, 4]
    assert k.write(1, 1) == "ACCERR"


def test_a_split_flushes_between_the_sizes() -> None:
    """Invalidate, flush on every CPU, and only then hook in the table: no CPU can cache both sizes (SDM 4.10.4.2)."""
    k = huge()
    k.read(1)
    names = k.run(0, "mprotect", 1, 1, R)

    start = names.index("pmdp_invalidate")
    assert names[start : start + 6] == [
        "pmdp_invalidate",
        *FLUSH,
        "pmd_populate",
        "pmd_unlock",
    ]


def test_nobody_has_the_page_cached_when_the_table_comes() -> None:
    """Before pmd_populate no CPU can use the huge entry."""
    k = huge(cpus=3)
    k.read(2)
    k.start(0, "dontneed", 1, until="pmd_populate")

    assert k.pmd() & (PSE | PRESENT) == PSE
    assert not any(k.cached(cpu, page) for cpu in range(3) for page in range(FANOUT))


def test_a_fault_waits_for_a_split() -> None:
    """A fault that finds the leaf invalidated waits for the PMD lock and then uses the table."""
    k = huge()
    k.start(0, "dontneed", 1, past="pmdp_invalidate")
    k.start(1, "read", 2, until="pmd_lock")
    assert not k.step(1)
    k.finish(1)

    assert k.shown() == 3


def test_a_part_is_dropped_by_a_split() -> None:
    """DONTNEED of one page frees only its frame."""
    k = huge()
    first = frame_of(k.pmd())
    k.run(0, "dontneed", 2)

    assert k.journal.freed_frames == [first + 2]
    assert values(k) == [1, 2, 0, 4]


def test_the_whole_is_dropped_as_one() -> None:
    """DONTNEED of all pages clears the leaf, frees four frames after one flush, and makes no table."""
    k = huge()
    first = frame_of(k.pmd())
    k.read(1)
    names = k.run(0, "dontneed", 0, 4)

    assert k.pmd() == 0
    assert sorted(k.journal.freed_frames) == list(range(first, first + FANOUT))
    assert names.count("flush_tlb_mm_range") == 1
    assert "pmdp_invalidate" not in names
    assert values(k) == [0, 0, 0, 0]


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_four_frames_fill_a_batch(batch: int) -> None:
    """When the frames of a huge page fill the batch, it is flushed and freed once, after the PMD lock."""
    k = written(layout="huge", batch=batch)
    names = k.run(0, "dontneed", 0, 4)

    assert names.count("tlb_flush_mmu") == names.count("flush_tlb_mm_range") == 1
    assert names[names.index("tlb_flush_mmu") - 1] == "pmd_unlock"


def test_the_next_fault_maps_a_huge_page_again() -> None:
    """After the whole was dropped, the region is populated with a huge page again."""
    k = huge()
    k.run(0, "dontneed", 0, 4)
    k.write(1, 3)

    assert k.pmd() & PSE


def test_a_page_shared_with_a_child_is_broken_page_by_page() -> None:
    """A write fault on a huge page with two owners splits it and copies the one page."""
    k = huge()
    first = frame_of(k.pmd())
    k.run(0, "fork")
    k.write(0, 1)

    assert not k.pmd() & PSE
    assert k.pmd(mm=1) & PSE
    assert k.frame(1) != first + 1
    assert k.w.refs[first : first + FANOUT] == [2, 1, 2, 2]


def test_lazy_free_splits() -> None:
    """MADV_FREE splits a huge page, whole or not, and marks its pages one by one."""
    k = huge()
    k.run(0, "free", 0, 4)

    assert not k.pmd() & PSE
    assert not any(k.pte(page) & DIRTY for page in range(FANOUT))
    assert k.w.lazy_free.bit_count() == FANOUT


def test_the_second_huge_page_is_separate() -> None:
    """With eight pages there are two huge pages, and changing one leaves the other."""
    k = huge(pages=8)
    k.write(0, 5)
    other = k.pmd(1)
    k.run(0, "munmap", 0, 2)

    assert not k.pmd(0) & PSE
    assert k.pmd(1) == other


def test_a_split_page_keeps_dirty() -> None:
    """Every page of a dirty leaf is dirty after the split, and so is not lost to reclaim."""
    k = Kernel(layout="huge")
    k.write(0, 0)
    k.run(0, "mprotect", 0, 1, R)

    assert all(k.pte(page) & DIRTY for page in range(FANOUT))
