"""The search tries the free choices of the hardware where they make a difference, and nowhere else.

These searches begin in the middle, in the world that a scenario leads to, with one operation still to come. From the
first world on, leaving out the operation that filled the TLB would often have the effect of an eviction.
"""

from dataclasses import replace

import pytest

from shootdown.machine.entry import PSE
from shootdown.machine.geometry import FANOUT
from shootdown.mm.world import World
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.strategy import GatherFlush
from shootdown.prove.search import ALL, Illegal
from shootdown.scenario import kinds
from tests.proving import goes_on, story, with_speculation

AT_ANY_TIME = ALL._replace(evictions=False, fills=False)
HALFWAY = [ALL._replace(evictions=False), ALL._replace(fills=False)]
# CPU 0 has dropped the page and has not flushed yet: CPU 1 may still use its entry.
WINDOW = "cpu0 dontneed p0 until flush"


@pytest.mark.parametrize("layout", ["private", "shared"])
@pytest.mark.parametrize(
    ("lines", "words"),
    [
        # The access that begins inside the window may find its entry evicted; then it maps a new page.
        pytest.param(f"cpu1 write p0, {WINDOW}", "write p0", id="evict before an access begins"),
        # The same holds for an access that has faulted, and is about to be repeated with what was filled in the
        # meantime.
        pytest.param(
            f"cpu1 read p0 for 6, cpu1 fill p0, {WINDOW}", "read p0", id="evict before a retry"
        ),
        # CPU 1 has never had the entry, and may fill it as long as it is there.
        pytest.param("cpu0 write p0, cpu0 evict p0", "dontneed p0", id="fill before a step"),
        # A clean entry of shared memory can be filled until the store that makes the page dirty.
        pytest.param("cpu0 read p0, cpu0 evict p0", "write p0", id="fill before a start"),
        # A page table without pages can still be cached until it is unhooked.
        pytest.param("cpu0 read p0, cpu0 dontneed p0", "munmap p0", id="fill of an upper entry"),
        # An entry from before the page was dirty can be evicted, and filled again before the next change.
        pytest.param(
            "cpu0 read p0, cpu1 fill p0, cpu0 write p0", "age p0 mm0", id="evict and fill"
        ),
        # A fill sets the accessed bit. Aging a page again that was not accessed changes nothing, and so shows the bit;
        # the handler of a store also shows it, because it checks whether the entry is unchanged.
        pytest.param(
            "cpu0 write p0, cpu0 age p0 mm0, cpu0 evict p0", "age p0 mm0", id="accessed, and aged"
        ),
        pytest.param(
            "cpu0 read p0, cpu0 age p0 mm0, cpu0 evict p0",
            "write p0",
            id="accessed under a handler",
        ),
    ],
)
def test_every_world_is_met(lines: str, words: str, layout: str) -> None:
    """Searches in which fills, evictions or both happen late meet the same worlds, in the middle of operations too.

    They postpone only the actions of the hardware after the last move for which these make a difference.
    """
    begun = story(f"2 1 {layout}", lines)
    plain = with_speculation(goes_on(begun, words, reductions=AT_ANY_TIME).met)

    for reductions in (ALL, *HALFWAY):
        assert with_speculation(goes_on(begun, words, reductions=reductions).met) == plain


@pytest.mark.parametrize(
    ("head", "lines", "words"),
    [
        # The fetch finds its own translation and the store none, or the other way round, in either order.
        (
            "2 1 private",
            f"cpu0 mprotect p0 rwx, cpu1 exec p0, {WINDOW}",
            "write p0",
        ),
        (
            "2 1 private",
            f"cpu0 mprotect p0 rwx, cpu1 write p0, {WINDOW}",
            "exec p0",
        ),
        ("1 1 shared", "cpu0 mprotect p0 rwx, cpu0 read p0", "mprotect p0 rw"),
    ],
)
def test_every_world_of_two_tlbs_is_met(head: str, lines: str, words: str) -> None:
    """The same holds if a CPU has one TLB for loads and stores and one for fetches."""
    begun = story(head, lines)
    begun = begun._replace(header=begun.header._replace(machine=kinds.SPLIT_TLB))
    plain = with_speculation(goes_on(begun, words, reductions=AT_ANY_TIME).met)

    for reductions in (ALL, *HALFWAY):
        assert with_speculation(goes_on(begun, words, reductions=reductions).met) == plain


@pytest.mark.parametrize(
    ("head", "lines"),
    [
        ("1 4 huge", "cpu0 write p0, cpu0 dontneed p1"),
        ("2 4 huge", "cpu0 write p0, cpu0 dontneed p1-p3"),
    ],
)
def test_every_world_of_a_collapse_is_met(head: str, lines: str) -> None:
    """The same holds for a table that is full when it is taken out, so that a cached upper entry still
    leads to pages.
    """
    begun = story(head, lines)
    words = "collapse p0 mm0"
    plain = with_speculation(goes_on(begun, words, reductions=AT_ANY_TIME).met)

    assert any(w.machine.memory[w.root[0] * FANOUT] & PSE for w, _ in goes_on(begun, words).met)
    for reductions in (ALL, *HALFWAY):
        assert with_speculation(goes_on(begun, words, reductions=reductions).met) == plain


class InterruptsNobody(GatherFlush):
    """A strategy that flushes only the CPU of the operation."""

    def should_interrupt(self, w: World, target: int, mm: int, *, freed_tables: bool) -> bool:
        """Return that no CPU is interrupted."""
        del w, target, mm, freed_tables
        return False


def test_a_violation_that_speculation_alone_shows() -> None:
    """A CPU that has accessed nothing may hold an entry that a flush must reach."""
    strategy = replace(REGISTRY["linux"], strategy=InterruptsNobody).make()
    begun = story("2 1 private", "cpu0 write p0, cpu0 evict p0")

    for reductions in (ALL, *HALFWAY, AT_ANY_TIME):
        with pytest.raises(Illegal, match="stale-entry-at-rest"):
            goes_on(begun, "mprotect p0 r", strategy=strategy, reductions=reductions)


# Nowhere else.


def test_nothing_is_filled_or_evicted_for_nothing() -> None:
    """A load that is denied changes no entry: it is started, it faults, and that is all."""
    begun = story("1 1 empty", "cpu0 read p0")

    assert goes_on(begun, "read p0").transitions == 2
    assert goes_on(begun, "read p0", reductions=AT_ANY_TIME).transitions > 2


def test_a_page_that_does_not_change_is_not_filled() -> None:
    """An operation makes as many moves beside another page that exists and does not change as it makes without that
    page.
    """
    alone = story("2 1 private", "cpu0 write p0, cpu0 evict p0")
    beside = story("2 2 private", "cpu0 write p0, cpu0 write p1, cpu0 evict p0, cpu0 evict p1")
    one, two = (goes_on(begun, "mprotect p0 r") for begun in (alone, beside))

    assert (one.worlds, one.transitions) == (two.worlds, two.transitions)
    assert one.transitions > 20


@pytest.mark.parametrize("warm", ["cpu1 write p0", "cpu0 write p0"])
def test_an_invalidation_is_carried_out_at_any_moment(warm: str) -> None:
    """A policy that broadcasts before the change and waits after it is caught, whether the other CPU was
    warm or not.

    The other CPU has carried the invalidation out, and has cached the old entry again.
    """
    strategy = REGISTRY["issued-early"].make()

    for reductions in (ALL, *HALFWAY, AT_ANY_TIME):
        with pytest.raises(Illegal, match="stale-entry-at-rest"):
            goes_on(
                story("2 1 private", warm),
                "mprotect p0 r",
                strategy=strategy,
                reductions=reductions,
            )
