"""At rest, the state that mm/ keeps for each page is the effect of the calls, and nothing is left over or
miscounted.
"""

from collections.abc import Callable

import pytest

from shootdown.contract.rest import at_rest
from shootdown.machine.entry import NX, RW, UFFD_WP
from shootdown.machine.geometry import FRAMES
from shootdown.mm.state import VM_WRITE
from shootdown.mm.swap import add_to_swap
from tests.kernel import Kernel, prot


def settled(layout: str = "private") -> Kernel:
    """Return a world at rest with a page that was stored to, one that was read, and a hole."""
    k = Kernel(pages=4, layout=layout)
    k.write(0, 0)
    k.read(1, 1)
    k.run(0, "munmap", 3)
    assert at_rest(k.w, k.journal.contract) == ("", 0)
    return k


def leak(k: Kernel) -> None:
    """Take a frame and forget it."""
    frame = next(frame for frame in range(1, FRAMES) if k.w.free_frames >> frame & 1)
    k.w.free_frames ^= 1 << frame


def forget(k: Kernel) -> None:
    """Drop a reference that does not exist."""
    k.w.refs[k.frame(0)] -= 1


def free(k: Kernel) -> None:
    """Free a frame that is mapped."""
    k.w.free_frames |= 1 << k.frame(0)
    k.w.refs[k.frame(0)] = 0


def miscount(k: Kernel) -> None:
    """Take a reference that is never dropped."""
    k.w.refs[k.frame(0)] += 1


def lose_slot(k: Kernel) -> None:
    """Leave a swap slot with content that nothing names."""
    k.w.swap[7] = 1


def miscount_slot(k: Kernel) -> None:
    """Count for a swap slot an entry that does not exist."""
    k.w.swap_map[add_to_swap(k.w, k.frame(0))] = 1


def hold(k: Kernel) -> None:
    """Hold a page-table lock."""
    k.w.ptl[0] = 1


def disable(k: Kernel) -> None:
    """Disable interrupts on a CPU."""
    k.w.irqs_off[1] = True


def lose_content(k: Kernel) -> None:
    """Give the page a content other than what was stored."""
    k.w.machine.memory[k.frame(0) << 2] = 99


def lose_entry(k: Kernel) -> None:
    """Remove the page's entry, with its reference and its frame."""
    frame = k.frame(0)
    k.w.machine.memory[_place(k, 0)] = 0
    k.w.refs[frame] = 0
    k.w.free_frames |= 1 << frame


def grant(k: Kernel) -> None:
    """Give a hole an entry."""
    k.w.machine.memory[_place(k, 3)] = k.pte(1)


def widen(k: Kernel) -> None:
    """Let an entry allow fetches in a region that denies them."""
    k.w.machine.memory[_place(k, 0)] &= ~NX


def keep_region(k: Kernel) -> None:
    """Give a hole a region."""
    k.w.vma[0][3] = k.w.vma[0][0]


def lose_right(k: Kernel) -> None:
    """Let the region allow less than the calls have made it allow."""
    k.w.vma[0][0] &= ~VM_WRITE


def deny(k: Kernel) -> None:
    """Deny a key to a thread that has written no PKRU."""
    k.w.pkru[0] = 4


def deny_loaded(k: Kernel) -> None:
    """Allow a thread a key again, while its CPU still denies it."""
    k.run(0, "wrpkru", arg=0)
    k.run(0, "wrpkru", arg=2)
    k.w.machine.pkru[0] = 4


def _place(k: Kernel, page: int) -> int:
    return (k.pmd(0) >> 19 & 60 | k.pmd(0) >> 12 & 3) << 2 | page


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (leak, "frame-leaked"),
        (forget, "free-frame-in-use"),
        (free, "free-frame-in-use"),
        (miscount, "reference-miscounted"),
        (lose_slot, "frame-leaked"),
        (miscount_slot, "reference-miscounted"),
        (hold, "lock-left-held"),
        (disable, "lock-left-held"),
        (lose_content, "content-not-of-calls"),
        (lose_entry, "content-not-of-calls"),
        (grant, "entry-beyond-region"),
        (widen, "entry-beyond-region"),
        (keep_region, "region-not-of-calls"),
        (lose_right, "region-not-of-calls"),
        (deny, "pkru-not-of-thread"),
        (deny_loaded, "pkru-not-of-thread"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_each_harm_is_seen(harm: Callable[[Kernel], None], reason: str) -> None:
    """A world at rest is wrong by the reason of what was done to it."""
    k = settled()
    harm(k)
    assert at_rest(k.w, k.journal.contract)[0] == reason


def test_a_mark_that_was_lost_is_seen() -> None:
    """A page that a call has write-protected for userfaultfd must trap, wherever it is."""
    k = settled()
    k.run(0, "uffd_register", 0)
    k.run(0, "uffd_wp", 0)
    assert at_rest(k.w, k.journal.contract) == ("", 0)
    k.w.machine.memory[_place(k, 0)] ^= UFFD_WP | RW
    assert at_rest(k.w, k.journal.contract) == ("entry-beyond-region", 0)


def test_the_reverse_map_is_held_against_the_tables() -> None:
    """If the reverse map finds a folio of the file at a page, the folio must be mapped there, and the other
    way round.
    """
    k = settled(layout="file")
    assert k.w.rmap
    k.w.rmap.popitem()
    assert at_rest(k.w, k.journal.contract)[0] == "rmap-differs-from-tables"


@pytest.mark.parametrize("layout", ["private", "shared", "huge", "file", "pfnmap"])
def test_every_place_of_a_page_is_read_back(layout: str) -> None:
    """Content is found in every place: in a frame, in swap, in the page cache, on the backing store, with
    the driver.
    """
    k = settled(layout=layout)
    k.run(0, "swapout", 0)
    k.run(0, "migrate", 1)
    k.run(0, "ksm", 1)
    k.run(0, "mmap", 3, 1, prot(3))
    k.run(0, "fork")
    k.run(0, "dontneed", 0, 2)
    assert at_rest(k.w, k.journal.contract) == ("", 0)
