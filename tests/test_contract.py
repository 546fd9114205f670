"""The contract: which outcomes the calls allow by their arguments, before, during and after each of them."""

from shootdown.contract.calls import (
    DONTNEED,
    FORK,
    FREE,
    MMAP,
    MPROTECT,
    MREMAP,
    MUNMAP,
    NO_CALL,
    PUNCH,
    REVOKE,
    call_of,
)
from shootdown.contract.contract import (
    ACCESS_OUTSIDE,
    CONTENT,
    DENIED_INSIDE,
    FINE,
    FORK_FAILED,
)
from shootdown.contract.effects import MAP_FILE, MAP_PFNMAP, MAP_SHARED
from shootdown.scenario.kinds import KINDS
from tests.program import RW, Program, R, W, X


def test_every_operation_is_known() -> None:
    """Each kind of record either makes a call of the contract or is known to change nothing for a program."""
    calls = {kind.name for kind in KINDS if call_of(kind.name) != NO_CALL}
    assert calls == {
        "mprotect", "pkey_mprotect", "munmap", "mmap", "mremap", "dontneed", "free", "fork",
        "uffd_register", "uffd_wp", "uffd_unwp", "punch", "revoke", "wrpkru", "exit",
    }  # fmt: skip


def test_a_load_shows_the_last_store() -> None:
    """Memory begins as zeros, and shows what was stored last and nothing else."""
    program = Program()
    assert program.load(value=0) == FINE
    assert program.store(value=5) == FINE
    assert program.load(value=5) == FINE
    assert program.load(value=0) == CONTENT
    assert program.load(page=1, value=5) == CONTENT


def test_rights_are_those_of_the_region() -> None:
    """A region denies what it does not allow, and nothing may succeed there; WRITE and EXEC allow loads on x86."""
    program = Program(prot=W)
    assert program.load() == FINE
    assert program.load(kind=X) == ACCESS_OUTSIDE
    assert program.denied(kind=X, reported=RW) == FINE
    assert program.denied(kind=R, reported=RW) == DENIED_INSIDE
    assert program.denied(kind=X, reported=R) == DENIED_INSIDE
    assert program.load(page=5) == ACCESS_OUTSIDE
    assert program.denied(page=5, reported=-1) == FINE


def test_mprotect_in_flight_may_be_met_or_not() -> None:
    """While it is in flight a store may succeed or be denied; after its return it is denied."""
    program = Program()
    program.open(0, MPROTECT, arg=R)
    assert program.store(value=3) == FINE
    assert program.denied(kind=W, reported=R) == FINE
    assert program.load(value=3) == FINE
    program.end(0)
    assert program.store() == ACCESS_OUTSIDE
    assert program.load(value=3) == FINE


def test_a_call_that_waits_for_its_lock_has_not_begun() -> None:
    """The effect of a call may be met from its first step on, and not before."""
    program = Program()
    program.begin(0, MPROTECT, arg=R)
    assert program.denied(kind=W, reported=R) == DENIED_INSIDE


def test_a_call_after_a_context_switch_has_not_begun() -> None:
    """The kernel thread of a lazy CPU gives way first; only after that does the call wait for its lock."""
    program = Program()
    program.begin(0, MPROTECT, arg=R)
    program.steps[0].append((0,))
    assert program.denied(kind=W, reported=R) == DENIED_INSIDE
    program.steps[0].pop()
    assert program.denied(kind=W, reported=R) == DENIED_INSIDE
    program.move(0)
    assert program.denied(kind=W, reported=R) == FINE


def test_two_calls_that_exclude_each_other_have_an_order() -> None:
    """The second one waits until the first has returned, and so finds its effect."""
    program = Program()
    program.open(0, MUNMAP)
    program.begin(1, MMAP, arg=RW)
    program.end(0)
    program.move(1)
    assert program.load() == FINE
    program.end(1)
    assert program.store() == FINE
    assert program.denied(reported=-1) == DENIED_INSIDE


def test_mprotect_stops_at_a_hole() -> None:
    """What lies after the first hole keeps its rights."""
    program = Program(pages=3)
    program.call(MUNMAP, page=1)
    program.call(MPROTECT, count=3, arg=R)
    assert program.store(page=0) == ACCESS_OUTSIDE
    assert program.store(page=2) == FINE


def test_mmap_fails_over_a_mapping() -> None:
    """MAP_FIXED_NOREPLACE changes nothing if a page of the range is mapped."""
    program = Program(pages=1)
    program.store(value=4)
    program.call(MMAP, count=2, arg=R)
    assert program.load(value=4) == FINE
    assert program.load(page=1) == ACCESS_OUTSIDE


def test_what_was_unmapped_does_not_come_back() -> None:
    """A page that is mapped in place of another one shows zeros."""
    program = Program()
    program.store(value=7)
    program.call(MUNMAP)
    program.call(MMAP, arg=RW)
    assert program.load(value=7) == CONTENT
    assert program.load(value=0) == FINE


def test_mremap_takes_the_content_along() -> None:
    """The target shows what the source did; the source is a hole; holes between regions stay what they are."""
    program = Program(pages=3)
    program.store(page=0, value=1)
    program.store(page=2, value=2)
    program.call(MUNMAP, page=1)
    program.call(MREMAP, page=0, count=3, arg=4)
    assert program.load(page=4, value=1) == FINE
    assert program.load(page=6, value=2) == FINE
    assert program.load(page=5) == ACCESS_OUTSIDE
    assert program.load(page=0, value=1) == ACCESS_OUTSIDE


def test_a_store_during_mremap_is_not_lost() -> None:
    """A store through the old address reaches the page that moves."""
    program = Program(pages=1)
    program.open(0, MREMAP, arg=4)
    program.store(page=0, value=9)
    program.end(0)
    assert program.load(page=4, value=0) == CONTENT
    assert program.load(page=4, value=9) == FINE


def test_dontneed_drops_private_content_alone() -> None:
    """After it, private memory reads as zeros, and shared memory keeps its content. Holes are skipped."""
    program = Program(pages=2)
    program.store(page=1, value=6)
    program.call(MUNMAP, page=0)
    program.call(DONTNEED, count=2)
    assert program.load(page=1, value=6) == CONTENT
    shared = Program(kind=MAP_SHARED)
    shared.store(value=6)
    shared.call(DONTNEED)
    assert shared.load(value=6) == FINE


def test_dontneed_in_flight_may_lose_a_store() -> None:
    """A concurrent store goes to the page that is dropped or to the new one; an older store never comes back."""
    program = Program()
    program.store(value=1)
    program.open(0, DONTNEED)
    program.store(value=2)
    assert program.load(value=1) == FINE
    program.end(0)
    assert program.load(value=1) == CONTENT
    assert program.load(value=2) == FINE
    assert program.load(value=0) == CONTENT


def test_dontneed_may_meet_a_page_twice() -> None:
    """An mremap in flight moves it inside the range: it is dropped at one of the two places, or at none."""
    program = Program(pages=2)
    program.store(page=0, value=3)
    program.open(0, MREMAP, page=0, arg=1)
    program.open(1, DONTNEED, page=0, count=2)
    program.end(1)
    program.end(0)
    assert program.load(page=1, value=3) == FINE
    assert program.load(page=1, value=0) == CONTENT


def test_free_may_drop_until_the_next_store() -> None:
    """After MADV_FREE a load shows the old content or zeros; after zeros it shows only zeros; a later store keeps the
    page.
    """
    program = Program()
    program.store(value=1)
    program.call(FREE)
    assert program.load(value=1) == FINE
    assert program.load(value=0) == FINE
    assert program.load(value=1) == CONTENT
    program.store(value=2)
    assert program.load(value=0) == CONTENT


def test_a_child_has_what_its_parent_had() -> None:
    """Regions and contents at the fork; later stores of either are its own, shared memory excepted."""
    program = Program()
    program.store(value=1)
    program.begin(0, FORK, count=1)
    program.move(0)
    program.store(value=2)
    program.contract.forked(0, 1)
    program.end(0)
    program.store(value=3)
    assert program.load(value=3, mm=1) == CONTENT
    assert program.load(value=2, mm=1) == FINE
    assert program.load(value=1, mm=1) == CONTENT
    assert program.store(value=4, mm=1) == FINE
    assert program.load(value=3) == FINE


def test_shared_memory_is_shared_with_the_child() -> None:
    """A store of the child is seen by the parent."""
    program = Program(kind=MAP_SHARED)
    program.begin(0, FORK)
    program.move(0)
    program.contract.forked(0, 1)
    program.end(0)
    program.store(value=4, mm=1)
    assert program.load(value=4) == FINE
    assert program.load(value=0) == CONTENT


def test_exit_leaves_nothing() -> None:
    """In an address space that has ended, no access may succeed."""
    program = Program()
    program.contract.exited(0)
    assert program.load() == ACCESS_OUTSIDE


def test_punch_and_revoke_make_zeros() -> None:
    """A hole in the file and a revoked page of a driver read zeros, wherever they are mapped."""
    for kind, call in ((MAP_FILE, PUNCH), (MAP_PFNMAP, REVOKE)):
        program = Program(kind=kind)
        program.store(value=3)
        program.call(call)
        assert program.load(value=3) == CONTENT
        assert program.load(value=0) == FINE


def test_fork_fails_for_want_of_a_space_alone() -> None:
    """With three address spaces there is no fourth; before that a fork returns a child."""
    program = Program()
    program.open(0, FORK)
    program.steps[0].clear()
    assert program.contract.closed(0) == FORK_FAILED
    for child in (1, 2):
        program.open(0, FORK)
        program.contract.forked(0, child)
        program.steps[0].clear()
        assert program.contract.closed(0) == FINE
    program.open(0, FORK)
    program.steps[0].clear()
    assert program.contract.closed(0) == FINE


def test_a_postponed_promise_holds_at_the_end_of_its_epoch() -> None:
    """Until then old translations may be used, after it they may not; a new mapping there shows zeros at once."""
    program = Program()
    program.store(value=1)
    program.open(0, MUNMAP)
    program.contract.postpone(0, 7)
    program.steps[0].clear()
    assert program.load(value=1) == FINE
    program.call(MMAP, arg=RW)
    assert program.load(value=1) == CONTENT
    program.contract.epoch_ended(7)
    assert program.load(value=0) == FINE


def test_a_punched_page_may_be_seen_where_it_is_being_unmapped() -> None:
    """A munmap has taken the page out and not flushed yet: the hole is punched without it."""
    program = Program(kind=MAP_FILE)
    program.store(value=1)
    program.open(0, MUNMAP)
    program.begin(1, PUNCH)
    program.move(1)
    program.end(1)
    assert program.load(value=1) == FINE
    program.end(0)
    assert program.load(value=1) == ACCESS_OUTSIDE


def test_a_copy_shares_nothing() -> None:
    """Changes of a copy of a contract do not affect the original."""
    program = Program()
    program.store(value=1)
    program.open(0, DONTNEED)
    program.load(value=1)
    other = program.contract.copy_for(program.steps)
    other.access(0, 0, W, 5)
    other.closed(0)
    assert program.load(value=1) == FINE
    assert program.load(value=5) == CONTENT
