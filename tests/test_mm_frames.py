"""Page frames: references, reuse, generations and poison."""

import pytest

from machine.geometry import FANOUT, FRAMES
from machine.x86 import POISON_ALLOC, POISON_FREE
from mm.frames import (
    OutOfMemoryError,
    alloc_frame,
    alloc_huge,
    free_table,
    get_page,
    put_page,
    zero_frame,
)
from mm.world import ZERO_FRAME
from tests.kernel import Kernel


def test_the_lowest_free_frame_comes_first() -> None:
    """A freed frame is the next to be handed out, so that a stale translation to it shows."""
    w = Kernel().w
    first, second = alloc_frame(w), alloc_frame(w)
    put_page(w, first)

    assert first < second
    assert alloc_frame(w) == first


def test_a_frame_is_poisoned_differently_on_allocation_and_on_free() -> None:
    """Every word of a frame has the one pattern when it is handed out, and the other when it is free."""
    w = Kernel().w
    frame = alloc_frame(w)
    words = slice(frame * FANOUT, (frame + 1) * FANOUT)
    allocated = w.machine.memory[words]
    put_page(w, frame)

    assert allocated == [POISON_ALLOC] * FANOUT
    assert w.machine.memory[words] == [POISON_FREE] * FANOUT


def test_a_free_begins_a_new_incarnation() -> None:
    """The generation rises at every free and at no other time."""
    w = Kernel().w
    frame = alloc_frame(w)
    before = w.machine.generation[frame]
    get_page(w, frame)
    put_page(w, frame)
    assert w.machine.generation[frame] == before

    put_page(w, frame)
    assert w.machine.generation[frame] == before + 1
    assert alloc_frame(w) == frame
    assert w.machine.generation[frame] == before + 1


def test_only_the_last_reference_frees() -> None:
    """A frame with a reference left is not handed out again, and the observer hears of the last one only."""
    k = Kernel()
    frame = alloc_frame(k.w)
    get_page(k.w, frame)
    put_page(k.w, frame)
    assert k.journal.freed_frames == []
    assert not k.w.free_frames >> frame & 1

    put_page(k.w, frame)
    assert k.journal.freed_frames == [frame]
    assert k.w.free_frames >> frame & 1


def test_the_zero_page_is_never_freed() -> None:
    """References to the zero page are not counted, and it is never handed out."""
    k = Kernel()
    get_page(k.w, ZERO_FRAME)
    put_page(k.w, ZERO_FRAME)
    put_page(k.w, ZERO_FRAME)

    assert k.journal.freed_frames == []
    assert not k.w.free_frames >> ZERO_FRAME & 1
    assert k.w.machine.memory[:FANOUT] == [0] * FANOUT


def test_memory_ends() -> None:
    """With every frame taken, OutOfMemoryError: a run that needs more is undecided."""
    w = Kernel().w
    taken = [alloc_frame(w) for _ in range(w.free_frames.bit_count())]

    assert len({*taken, ZERO_FRAME, w.root[0]}) == FRAMES
    with pytest.raises(OutOfMemoryError):
        alloc_frame(w)


def test_a_huge_page_is_a_whole_block() -> None:
    """Four frames from an aligned block, with one reference each, of one new generation, and poisoned."""
    w = Kernel().w
    w.machine.generation[62] = 5
    first = alloc_huge(w)

    assert first % FANOUT == 0
    assert w.refs[first : first + FANOUT] == [1] * FANOUT
    assert w.machine.generation[first : first + FANOUT] == [6] * FANOUT
    assert w.machine.read_entry(first + 3, 3) == POISON_ALLOC
    assert not w.free_frames >> first & 0xF


def test_a_huge_page_needs_a_free_block() -> None:
    """Without a block of which every frame is free, -1 and no change."""
    w = Kernel().w
    w.free_frames &= ~0x1111111111111111
    before = w.free_frames

    assert alloc_huge(w) == -1
    assert w.free_frames == before


def test_a_zeroed_frame_has_no_poison() -> None:
    """zero_frame clears every word of its frame and no other."""
    w = Kernel().w
    frame, other = alloc_frame(w), alloc_frame(w)
    zero_frame(w, frame)

    assert [w.machine.read_entry(frame, i) for i in range(FANOUT)] == [0] * FANOUT
    assert w.machine.read_entry(other, 0) == POISON_ALLOC


def test_a_freed_frame_is_no_longer_lazily_free() -> None:
    """The mark of MADV_FREE goes with the frame's content."""
    w = Kernel().w
    frame = alloc_frame(w)
    w.lazy_free |= 1 << frame
    put_page(w, frame)

    assert not w.lazy_free


def test_a_freed_table_is_a_free_frame() -> None:
    """A page table's frame is poisoned and free at once, in a new generation."""
    k = Kernel()
    frame = alloc_frame(k.w)
    free_table(k.w, 0, 0, frame)

    assert k.journal.freed_tables == [frame]
    assert k.journal.freed_frames == []
    assert k.w.free_frames >> frame & 1
    assert k.w.machine.read_entry(frame, 0) == POISON_FREE
    assert k.w.machine.generation[frame] == 1
