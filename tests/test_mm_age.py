"""Aging: the accessed bit is cleared, and only a huge page is flushed for it."""

import pytest

from shootdown.machine.entry import ACCESSED, DIRTY
from tests.kernel import FLUSH, Kernel, cached_twice, written


def test_a_small_page_is_not_flushed() -> None:
    """ACCESSED is cleared under the PTL, nothing else changes, and no TLB is flushed (ptep_clear_flush_young)."""
    k = cached_twice()
    before = k.pte()

    assert k.run(0, "age") == [
        "folio_referenced",
        "pte_lock",
        "ptep_clear_flush_young",
        "pte_unlock",
        "return",
    ]
    assert k.pte() == before & ~ACCESSED
    assert k.cached(1)


def test_a_huge_page_is_flushed_under_its_lock() -> None:
    """A leaf of 2 MiB loses ACCESSED and is flushed before the PMD lock is released (pmdp_clear_flush_young)."""
    k = cached_twice(layout="huge")
    before = k.pmd()

    assert k.run(0, "age", 2) == [
        "folio_referenced",
        "pmd_lock",
        "pmdp_clear_flush_young",
        *FLUSH,
        "pmd_unlock",
        "return",
    ]
    assert k.pmd() == before & ~ACCESSED
    assert not k.cached(1)


def test_a_huge_page_that_is_old_already_is_not_flushed() -> None:
    """Without ACCESSED there is nothing to clear."""
    k = written(layout="huge")
    k.run(0, "age")

    assert "flush_tlb_mm_range" not in k.run(0, "age")


def test_a_page_gets_young_again() -> None:
    """The next walk sets ACCESSED; a hit does not."""
    k = written()
    k.run(1, "age")
    k.read(0)
    assert not k.pte() & ACCESSED
    k.read(1)

    assert k.pte() & (ACCESSED | DIRTY) == ACCESSED | DIRTY


def test_there_may_be_nothing_to_age() -> None:
    """Without a table, a page or such an address space, nothing happens."""
    k = Kernel()
    assert k.run(0, "age") == ["folio_referenced", "return"]
    assert k.run(0, "age", 0, 1, 2) == ["folio_referenced", "return"]
    k.write(0, 1)
    k.run(0, "age")

    assert k.pte() == 0


@pytest.mark.parametrize("layout", ["private", "huge"])
def test_a_page_under_prot_none_is_aged_too(layout: str) -> None:
    """An entry that the hardware cannot use is still a mapped page, and loses its ACCESSED bit like any other."""
    k = written(layout=layout)
    k.run(0, "mprotect", 0, 4, 0)
    before = k.pmd() if layout == "huge" else k.pte()
    k.run(1, "age")

    assert before & ACCESSED
    assert (k.pmd() if layout == "huge" else k.pte()) == before & ~ACCESSED
