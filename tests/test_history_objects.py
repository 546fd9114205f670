"""The history's objects: what a page contains, through forks, copies, swap, merges, and MADV_FREE."""

from shootdown.machine.entry import READ, WRITE
from shootdown.reference.history import History
from shootdown.reference.objects import IN_SWAP, NO_OBJECT, ZERO_OBJECT
from tests.histories import A, B, entry, history


def owner(h: History, mm: int, frame: int) -> int:
    """Return the object that an address space has in a frame."""
    return h.objects[frame * 3 + mm]


def store(h: History, mm: int, frame: int, value: int) -> None:
    """Make a store by an address space to a frame."""
    h.store(h.version_of(mm, entry(frame, READ | WRITE)), value)


def test_a_child_begins_with_a_snapshot() -> None:
    """A fork gives the child an object of its own with the parent's content; the zero page needs none."""
    h = history()
    store(h, 0, A, 5)
    h.object_fork(0, 1, A)
    h.object_fork(0, 1, 0)

    assert owner(h, 1, A) not in (owner(h, 0, A), NO_OBJECT)
    assert h.shadow[owner(h, 1, A)] == 5
    assert h.version_of(1, entry(0, READ)) >> 24 == ZERO_OBJECT


def test_a_store_to_a_shared_frame_reaches_both_objects() -> None:
    """While parent and child share the frame, both see a store that is legal; after that only the writer sees it."""
    h = history()
    h.object_fork(0, 1, A)
    store(h, 0, A, 5)
    assert [h.shadow[owner(h, mm, A)] for mm in (0, 1)] == [5, 5]
    h.object_left(1, A)
    h.object_new(1, 0, B)
    store(h, 0, A, 6)

    assert [h.shadow[owner(h, 0, A)], h.shadow[owner(h, 1, B)]] == [6, 0]


def test_an_object_follows_its_copy() -> None:
    """After a copy the new frame holds the same object, for one space or for all."""
    h = history()
    mine = owner(h, 0, A)
    h.object_copied(0, A, 9)
    h.object_shared(1, B)
    h.object_shared(2, B)
    h.object_copied(-1, B, 10)

    assert owner(h, 0, 9) == mine
    assert owner(h, 1, 10) == owner(h, 2, 10) == owner(h, 1, B) == h.shared_object[10]


def test_an_object_lives_where_it_was_mapped_last() -> None:
    """The home of an object is the frame of its newest mapping, -1 before the first one."""
    h = history()
    mine = owner(h, 0, A)
    assert h.home[mine] == -1
    h.generation[A] = 3
    h.commit(0, 0, entry(A, READ))
    assert h.home[mine] == A
    h.object_copied(0, A, 9)
    h.commit(0, 0, entry(9, READ))

    assert h.home[mine] == 9


def test_an_object_in_swap_lives_in_no_frame() -> None:
    """From frame to slot and back it stays the same object, separate for each space; a fork in between is a
    snapshot.
    """
    h = history()
    h.object_fork(0, 1, A)
    mine, theirs = owner(h, 0, A), owner(h, 1, A)
    store(h, 0, A, 5)
    h.swapped_out(A, 3)
    h.forget_frame(A)

    assert h.home[mine] == h.home[theirs] == IN_SWAP
    assert h.lives(mine)
    h.slot_fork(0, 2, 3)
    h.slot_left(1, 3)
    assert not h.lives(theirs)
    h.swapped_in(3, B)
    assert (owner(h, 0, B), owner(h, 1, B)) == (mine, NO_OBJECT)
    assert owner(h, 2, B) not in (mine, theirs, NO_OBJECT)
    assert h.shadow[owner(h, 2, B)] == 5


def test_a_freed_frame_holds_nothing() -> None:
    """The next owner of the frame begins without an object."""
    h = history()
    h.object_shared(1, A)
    h.forget_frame(A)

    assert [owner(h, mm, A) for mm in range(3)] == [NO_OBJECT] * 3
    assert h.shared_object[A] == NO_OBJECT


def test_content_is_dispensable_from_madv_free_on() -> None:
    """Stores from before an MADV_FREE, or during it, may be dropped; later ones may not."""
    h = history()
    h.commit(0, 0, entry(A, READ | WRITE))
    mine = owner(h, 0, A)
    store(h, 0, A, 5)
    assert not h.dispensable(mine)
    h.lazy_freed(1, 0, A)
    store(h, 0, A, 6)
    assert h.dispensable(mine)
    h.close(1)
    assert h.dispensable(mine)
    store(h, 0, A, 7)

    assert not h.dispensable(mine)


def test_a_childs_content_is_as_dispensable_as_the_parents() -> None:
    """A child inherits whether the content was given up."""
    h = history()
    h.commit(0, 0, entry(A, READ | WRITE))
    store(h, 0, A, 5)
    h.object_fork(0, 1, A)
    h.lazy_freed(1, 0, A)
    h.close(1)
    h.object_fork(0, 2, A)

    assert [h.dispensable(owner(h, mm, A)) for mm in range(3)] == [True, False, True]


def test_a_page_that_was_never_stored_to_is_dispensable() -> None:
    """Zeros need no write-back."""
    h = history()

    assert h.dispensable(owner(h, 0, A))


def test_an_object_at_two_pages() -> None:
    """Merged pages of one space have one object; the first to be copied begins its own object.

    A child has the object at both pages as well.
    """
    h = history()
    mine, other = owner(h, 0, A), owner(h, 0, B)
    h.merged(0, 1, B, A)

    assert (owner(h, 0, A), h.joined) == (mine, {A * 3: 1})
    assert not h.lives(other)
    h.object_fork(0, 1, A)
    h.object_fork(0, 1, A)
    assert h.joined == {A * 3: 1, A * 3 + 1: 1}
    h.object_copied(0, A, 9)
    assert owner(h, 0, 9) not in (mine, NO_OBJECT)
    h.object_left(0, A)
    assert (owner(h, 0, A), h.joined) == (mine, {A * 3: 0, A * 3 + 1: 1})
    h.object_copied(0, A, 9)
    assert owner(h, 0, 9) not in (mine, NO_OBJECT)
    h.object_left(0, A)
    assert owner(h, 0, A) == NO_OBJECT


def test_an_object_that_is_merged_across_spaces() -> None:
    """It is the same object in the other frame."""
    h = history()
    h.object_new(1, 0, 9)
    mine = owner(h, 0, A)
    h.merged(0, 0, A, 9)

    assert (owner(h, 0, 9), owner(h, 0, A), h.joined) == (mine, NO_OBJECT, {})
    assert owner(h, 1, 9) != mine
