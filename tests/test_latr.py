"""Lazy shootdown: munmap and MADV_DONTNEED return without an interrupt, and their promise holds at the end of the
epoch.
"""

import pytest

from shootdown.machine.entry import READ
from shootdown.mm.state import IPIS
from shootdown.optimized.policies import REGISTRY
from shootdown.prove.counterexample import operations_in, scenario_of
from shootdown.prove.scope import Scope
from shootdown.prove.search import Illegal, Search
from shootdown.prove.visited import Visited
from shootdown.run.execute import execute
from shootdown.run.oracle import Violation
from shootdown.scenario import Header, corpus
from shootdown.scenario.verdict import ILLEGAL
from tests.kernel import Kernel, R, prot, written
from tests.proving import operations

SAVE = "save LATR state"


def given_up(operation: str = "dontneed", cpus: int = 2) -> tuple[Kernel, int]:
    """Return a kernel where CPU 1 has page 0 cached and CPU 0 has given it up, and the frame of the page."""
    k = Kernel("latr", cpus=cpus)
    k.write(1)
    frame = k.frame()
    k.write(0, 1)
    assert SAVE in k.run(0, operation)
    return k, frame


@pytest.mark.parametrize("operation", ["dontneed", "munmap"])
def test_nobody_is_interrupted_and_the_frame_is_kept(operation: str) -> None:
    """The other CPU goes on with the page, and its frame is not allocated again."""
    k, frame = given_up(operation)

    assert k.w.costs[IPIS] == 0
    assert k.cached(1)
    assert frame not in k.journal.freed_frames
    assert k.read(1) == 1


def test_the_tick_of_the_last_cpu_ends_the_epoch() -> None:
    """Each CPU flushes at its own tick; after the last one the frame is free and the old page gone."""
    k, frame = given_up(cpus=3)
    k.run(1, "tick")
    assert not k.cached(1)
    assert frame not in k.journal.freed_frames

    k.run(2, "tick")

    assert frame in k.journal.freed_frames
    assert k.w.flush_state.lazy_frees == []
    assert k.read(1) == 0


def test_a_context_switch_does_as_well() -> None:
    """A CPU that switches to another address space first does what it has postponed."""
    k = Kernel("latr")
    k.write(1)
    k.run(0, "fork")
    frame = k.frame()
    k.run(0, "dontneed")
    k.run(1, "switch", arg=1)

    assert k.w.flush_state.lazy_frees == []
    assert frame not in k.journal.freed_frames, "the child has it"


def test_what_a_thread_uses_behind_the_epoch_is_illegal() -> None:
    """Until the epoch has ended, an access by the old entry is legal; the same access after it breaks C1."""
    k, _ = given_up()
    entry = dict(k.w.machine.tlb[1])
    assert k.read(1) == 1
    k.w.flush_state.lazy_frees[0] = (*k.w.flush_state.lazy_frees[0][:6],)
    k.run(1, "tick")
    k.w.machine.tlb[1].update(entry)

    with pytest.raises(Violation, match="stale-grant"):
        k.read(1)


def test_who_takes_the_table_lock_flushes() -> None:
    """Mprotect finds the entry gone and has nothing to flush itself, but must not return before the old entry is
    dropped.
    """
    k, _ = given_up()
    k.run(0, "mprotect", arg=R)

    assert not k.cached(1)


def test_addresses_are_not_mapped_again_before() -> None:
    """With a new mapping in place of the old one, no thread sees the old page there any more."""
    k, _ = given_up("munmap")
    k.run(0, "mmap", arg=prot(READ))

    assert not k.cached(1)
    assert k.read(1) == 0


def test_freed_tables_are_flushed_at_once() -> None:
    """Otherwise a walk by another CPU could use them."""
    k = Kernel("latr")
    k.write(1)

    assert SAVE not in k.run(0, "munmap", count=4)
    assert k.w.costs[IPIS] == 1


def test_a_lazy_cpu_is_not_waited_for() -> None:
    """It compares generations before it runs the space again."""
    k = Kernel("latr")
    k.write(1)
    k.run(1, "lazy")
    frame = k.frame()
    k.run(0, "dontneed")

    assert frame in k.journal.freed_frames
    assert k.read(1) == 0


def test_a_copied_world_ends_its_own_epochs() -> None:
    """Actions of the copy end nothing in the original, also for the oracle."""
    k, frame = given_up()
    w, oracle = k.journal.fork()
    assert w.key() == k.w.key()
    assert oracle.promised == k.journal.promised != {}
    w.flush.tick(w, 1)

    assert oracle.promised == {}
    assert k.journal.promised != {}
    assert w.refs[frame] == 0 != k.w.refs[frame]


def test_stories_of_other_policies_are_legal_under_it() -> None:
    """Every good scenario of the corpus is legal."""
    strategy = REGISTRY["latr"].make()
    wrong = [
        name
        for name, story in corpus.load().items()
        if name.startswith("good_") and execute(story.scenario, strategy).verdict == ILLEGAL
    ]

    assert not wrong


def prove(policy: str) -> tuple[str, int]:
    """Return the reason and the operations of the first violation on one page of two CPUs, or "" and the bound."""
    bound = 4
    strategy = REGISTRY[policy].make()
    scope = Scope(Header(2, 1, batch=2), bound, ("",), operations("write p0, dontneed p0"))
    visited = Visited(1 << 18)
    search = Search(scope, strategy, visited)
    try:
        paths = search.begin()
        for level in range(bound):
            paths = search.expand(paths, last=level + 1 == bound)
    except Illegal as illegal:
        return illegal.reason, operations_in(scenario_of(illegal.path, scope, strategy))
    finally:
        visited.close()
    return "", bound


def test_every_interleaving_of_zaps_and_stores() -> None:
    """Nothing is illegal in the scope; if postponed flushes are not seen, the fourth operation uses a page that was
    given up.
    """
    assert prove("latr") == ("", 4)
    assert prove("put-off-unseen") == ("stale-grant", 4)


def test_a_gather_beside_one_that_is_put_off_is_nested() -> None:
    """It has taken the table lock before the other one recorded its flush, so at its end it flushes what
    both skipped.
    """
    k = written("latr")
    k.start(1, "dontneed", until=SAVE)
    k.start(0, "dontneed", until="ptep_get_and_clear_full")
    k.finish(1)
    assert k.cached(0)

    assert SAVE not in k.finish(0)
    assert not k.cached(0)


def test_what_was_flushed_for_all_is_put_off_no_more() -> None:
    """An operation that takes the table lock after a save flushes for all, and can postpone its own flush again."""
    k, _ = given_up()
    k.read(1, 1)

    assert SAVE in k.run(0, "dontneed", 1)
    assert len(k.w.flush_state.lazy_frees) == 2
