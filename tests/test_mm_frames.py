"""Page frames: references, reuse, generations and poison."""

import pytest

from shootdown.machine.geometry import FANOUT, FRAMES
from shootdown.machine.x86 import POISON_ALLOC, POISON_FREE
from shootdown.mm.frames import (
    OutOfMemoryError,
    alloc_frame,
    alloc_huge,
    alloc_zeroed,
    free_table,
    get_page,
    put_page,
)
from shootdown.mm.state import ZERO_FRAME
from tests.kernel import Kernel


def test_the_lowest_free_frame_comes_first() -> None:
    """A freed frame is the next to be allocated, so that a stale translation to it shows."""
    w = Kernel().w
    first, second = alloc_frame(w), alloc_frame(w)
    put_page(w, first)

    assert first < second
    assert alloc_frame(w) == first


def test_the_frame_freed_last_comes_first() -> None:
    """Freed frames are allocated again last in, first out, whatever their numbers, and before all fresh ones."""
    w = Kernel().w
    frames = [alloc_frame(w) for _ in range(4)]
    order = [frames[2], frames[0], frames[3], frames[1]]
    for frame in order:
        put_page(w, frame)

    assert [alloc_frame(w) for _ in order] == order[::-1]
    assert w.freed == []
    assert alloc_frame(w) == frames[-1] + 1


def test_a_freed_table_is_the_next_frame() -> None:
    """Page tables and pages come back from one list."""
    w = Kernel().w
    page, table = alloc_frame(w), alloc_frame(w)
    put_page(w, page)
    free_table(w, 0, 0, table)

    assert [alloc_frame(w), alloc_frame(w)] == [table, page]


def test_a_frame_is_poisoned_differently_on_allocation_and_on_free() -> None:
    """Every word of a frame has one pattern when it is allocated, and the other when it is free."""
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
    """A frame with a reference left is not allocated again, and the observer is told only of the last one."""
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
    """If every frame is taken, OutOfMemoryError is raised: a run that needs more is undecided."""
    w = Kernel().w
    taken = [alloc_frame(w) for _ in range(w.free_frames.bit_count())]

    assert len({*taken, ZERO_FRAME, w.root[0]}) == FRAMES
    with pytest.raises(OutOfMemoryError):
        alloc_frame(w)


def test_a_huge_page_is_a_whole_block() -> None:
    """It has four frames of an aligned block, with one reference each, of one new generation, and full of zeros."""
    w = Kernel().w
    w.machine.generation[62] = 5
    w.machine.memory[FANOUT:] = [POISON_FREE] * (len(w.machine.memory) - FANOUT)
    first = alloc_huge(w)
    words = slice(first * FANOUT, (first + FANOUT) * FANOUT)

    assert first % FANOUT == 0
    assert w.refs[first : first + FANOUT] == [1] * FANOUT
    assert w.machine.generation[first : first + FANOUT] == [6] * FANOUT
    assert w.machine.memory[words] == [0] * FANOUT * FANOUT
    assert w.machine.memory.count(0) == FANOUT * (FANOUT + 1)
    assert not w.free_frames >> first & 0xF


def test_a_huge_page_takes_its_frames_from_the_freed_ones() -> None:
    """Freed frames of the block are not allocated a second time; the others keep their order."""
    w = Kernel().w
    taken = [alloc_frame(w) for _ in range(w.free_frames.bit_count())]
    block = range(FRAMES - FANOUT, FRAMES)
    others = taken[:2]
    for frame in (block[1], others[0], block[3], block[0], others[1], block[2]):
        put_page(w, frame)

    assert alloc_huge(w) == block[0]
    assert w.freed == others
    assert [alloc_frame(w), alloc_frame(w)] == others[::-1]
    with pytest.raises(OutOfMemoryError):
        alloc_frame(w)


def test_a_huge_page_needs_a_free_block() -> None:
    """Without a block in which every frame is free, the result is -1 and nothing changes."""
    w = Kernel().w
    w.free_frames &= ~0x1111111111111111
    before = w.free_frames

    assert alloc_huge(w) == -1
    assert w.free_frames == before


def test_a_zeroed_frame_has_no_poison() -> None:
    """alloc_zeroed clears every word of its frame, which has one reference, and no other word."""
    w = Kernel().w
    before, other = alloc_frame(w), alloc_frame(w)
    put_page(w, before)
    memory = list(w.machine.memory)
    frame = alloc_zeroed(w)
    words = slice(frame * FANOUT, (frame + 1) * FANOUT)

    assert frame == before != other
    assert w.refs[frame] == 1
    assert memory[words] == [POISON_FREE] * FANOUT
    memory[words] = [0] * FANOUT
    assert w.machine.memory == memory


def test_a_frame_is_full_of_the_pattern_asked_for() -> None:
    """alloc_frame fills every word of its frame with a pattern, the poison of an allocation unless another is named."""
    w = Kernel().w
    frames = {POISON_ALLOC: alloc_frame(w), 7: alloc_frame(w, 7)}

    for pattern, frame in frames.items():
        assert [w.machine.read_entry(frame, i) for i in range(FANOUT)] == [pattern] * FANOUT


def test_a_freed_frame_is_no_longer_lazily_free() -> None:
    """The mark of MADV_FREE is removed with the frame's content."""
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
