"""mmap: regions in holes, with nothing populated."""

import pytest

from shootdown.mm.mmap import HUGE, PRIVATE, SHARED
from shootdown.mm.state import VM_HUGE, VM_MAPPED, VM_PGOFF_SHIFT, VM_SHARED, VM_SOFTDIRTY
from tests.kernel import Kernel, R, W, X, prot


@pytest.mark.parametrize("rights", range(8))
@pytest.mark.parametrize(("kind", "flag"), [(PRIVATE, 0), (SHARED, VM_SHARED), (HUGE, VM_HUGE)])
def test_a_region_has_its_rights_and_its_kind(rights: int, kind: int, flag: int) -> None:
    """The pages of the range belong to a region with the requested rights and kind; no other pages do."""
    k = Kernel(layout="empty")
    k.run(0, "mmap", 1, 2, prot(rights, kind))
    pages = [vma & ~(~0 << VM_PGOFF_SHIFT) for vma in k.w.vma[0]]

    assert pages == [0, *[VM_MAPPED | VM_SOFTDIRTY | rights | flag] * 2, *[0] * 5]


def test_nothing_is_populated() -> None:
    """A new region has no page table and uses no frame."""
    k = Kernel(layout="empty")
    free = k.w.free_frames
    k.run(0, "mmap", 0, 4, prot(R | W))

    assert k.pmd() == 0
    assert k.w.free_frames == free


def test_a_shared_page_keeps_its_place_in_the_object() -> None:
    """The offset of a shared page is its page number at the time of mmap."""
    k = Kernel(layout="empty")
    k.run(0, "mmap", 2, 2, prot(R, SHARED))

    assert [vma >> VM_PGOFF_SHIFT for vma in k.w.vma[0][2:4]] == [2, 3]


def test_a_range_that_is_partly_mapped_is_refused() -> None:
    """As with MAP_FIXED_NOREPLACE: one mapped page in the range, and mmap changes nothing."""
    k = Kernel(layout="empty")
    k.run(0, "mmap", 1, 1, prot(R))
    before = list(k.w.vma[0])
    k.run(0, "mmap", 0, 4, prot(R | W | X))

    assert k.w.vma[0] == before


def test_a_mapping_needs_no_flush() -> None:
    """Mapping into a hole flushes nothing and interrupts no CPU."""
    k = Kernel(layout="empty")
    names = k.run(0, "mmap", 0, 4, prot(R | W))

    assert names == ["mmap_write_lock, mmap_region", "mmap_write_unlock, return"]
    assert not any(k.w.costs)


def test_shared_memory_outlives_its_mapping() -> None:
    """A shared page that is unmapped and mapped again has its content, a private one is zero."""
    k = Kernel(layout="shared")
    value = k.write(0)
    k.run(0, "munmap")
    k.run(0, "mmap", 0, 1, prot(R, SHARED))
    assert k.read(1) == value

    k.run(0, "munmap")
    k.run(0, "mmap", 0, 1, prot(R, PRIVATE))
    assert k.read(1) == 0
