"""Content that munmap or MADV_DONTNEED has dropped does not come back to the page (C1)."""

import pytest

from shootdown.mm.tables import pte_of, set_pte
from shootdown.run.oracle import Violation
from tests.kernel import Kernel, R, W, prot, written


def dropped(*, close: bool) -> tuple[Kernel, int]:
    """Return a kernel where MADV_DONTNEED saw nothing at p0, because another operation had taken the entry out; and the
    entry.
    """
    k = written()
    entry = pte_of(k.w, 0, 0)
    set_pte(k.w, 1, 0, 0, 0)
    k.start(0, "dontneed", until="return")
    if close:
        k.finish(0)
    return k, entry


def test_an_entry_that_was_out_for_a_moment_brings_the_content_back() -> None:
    """After the call has returned, the old object at this page breaks the promise."""
    k, entry = dropped(close=True)

    with pytest.raises(Violation, match="dropped-page-comes-back"):
        set_pte(k.w, 1, 0, 0, entry)


def test_before_the_call_returns_nothing_is_promised() -> None:
    """The same store while MADV_DONTNEED is in flight is ordered before it."""
    k, entry = dropped(close=False)

    set_pte(k.w, 1, 0, 0, entry)
    assert k.journal.dropped == {}


def test_mremap_may_bring_it_back() -> None:
    """A page that was moved away before the zap, and back after it, has its content."""
    k = Kernel()
    value = k.write(0)
    k.run(0, "mremap", 0, 1, 1)
    k.run(0, "mmap", 0, 1, prot(R | W))
    k.run(0, "dontneed", 0)
    k.run(0, "mremap", 1, 1, 0)
    assert k.read(1) == value
    k.run(0, "mprotect", 0, 1, R)

    assert k.read(1) == value


def test_shared_memory_is_only_unmapped() -> None:
    """MADV_DONTNEED of a shared page leaves the object, and the next fault maps it again."""
    k = Kernel(layout="shared")
    value = k.write(0)
    k.run(0, "dontneed")

    assert k.read(1) == value
    assert k.journal.dropped == {}


def test_a_zap_that_ends_the_object_notes_nothing() -> None:
    """The usual case costs no memory: an object that has ended cannot come back."""
    k = written()
    k.run(0, "dontneed")
    k.run(0, "munmap")

    assert k.journal.dropped == {}
