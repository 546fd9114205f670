"""The reduced search agrees with the plain one, which tries every step, fill and eviction at every moment."""

from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import pytest

from shootdown.mm.world import World
from shootdown.optimized.policies import REGISTRY
from shootdown.prove.canonical import key_of
from shootdown.prove.counterexample import operations_in, scenario_of
from shootdown.prove.moves import carry_out
from shootdown.prove.scope import Scope
from shootdown.prove.search import ALL, NONE, Illegal, Reductions, Search
from shootdown.prove.visited import Visited
from shootdown.run.oracle import Oracle
from shootdown.scenario import Header, kinds
from shootdown.scenario.verdict import REASONS
from tests.proving import exact, operations, rested, with_speculation


@dataclass(frozen=True)
class Ended:
    """How a search ended: with no rule when it found nothing with up to that many operations."""

    rule: str
    operations: int
    worlds: int
    transitions: int

    @property
    def verdict(self) -> tuple[str, int]:
        """Return what two searches must agree on."""
        return self.rule, self.operations


@cache
def search(
    policy: str,
    words: str,
    ops: int,
    *,
    reductions: Reductions = ALL,
    layout: str = "private",
    cpus: int = 2,
) -> Ended:
    """Search one page of two CPUs for a violation of the rule that a fault must break, of any rule without a fault."""
    strategy = REGISTRY[policy].make()
    fault = REGISTRY[policy].fault
    header = Header(cpus, 1, kinds.LAYOUTS.index(layout))
    scope = Scope(header, ops, (words,), operations(words))
    rules = frozenset({fault.rule} if fault else ())
    visited = Visited(1 << 16)
    searched = Search(scope, strategy, visited, rules=rules, reductions=reductions)
    rule, fewest = "", ops
    try:
        paths = searched.begin()
        for level in range(ops):
            paths = searched.expand(paths, last=level + 1 == ops)
    except Illegal as illegal:
        rule = REASONS[illegal.reason][0]
        fewest = operations_in(scenario_of(illegal.path, scope, strategy))
    finally:
        visited.close()
    return Ended(rule, fewest, searched.worlds, searched.transitions)


LEGAL = [
    ("linux", "read p0, mprotect p0 none", 2),
    ("linux", "write p0, mprotect p0 r", 2),
    ("linux", "write p0, munmap p0", 2),
    ("linux", "write p0, migrate p0 mm0", 2),
    ("minimal", "exec p0, mprotect p0 rx", 2),
    ("minimal-exec-check", "exec p0, mprotect p0 rx", 2),
    ("always", "write p0, mprotect p0 r", 2),
    ("linux", "read p0, pkey_mprotect p0 rw k1, wrpkru none k1", 3),
]


@pytest.mark.parametrize(("policy", "words", "ops"), LEGAL)
def test_legal_scopes(policy: str, words: str, ops: int) -> None:
    """If nothing is illegal, neither search finds anything, and the reduced one makes far fewer transitions."""
    reduced = search(policy, words, ops)
    plain = search(policy, words, ops, reductions=NONE)

    assert reduced.verdict == plain.verdict == ("", ops)
    assert reduced.transitions * 4 < plain.transitions
    assert reduced.worlds < plain.worlds


ILLEGAL = [
    ("skip-write-protect", "write p0, mprotect p0 r", 2, 2),
    ("drop-last-page", "write p0, mprotect p0 r", 2, 2),
    ("trust-accessed", "write p0, age p0 mm0, mprotect p0 r", 1, 4),
    ("report-healed-fault", "write p0, mprotect p0 r, mprotect p0 rw", 1, 4),
    ("free-before-flush", "write p0, munmap p0", 2, 2),
    ("skip-lazy-tables", "read p0, munmap p0, lazy", 2, 3),
    ("copy-before-flush", "write p0, migrate p0 mm0", 2, 2),
    ("swap-written-before-flush", "write p0, swapout p0 mm0", 1, 2),
    ("v1-pending-leak", "write p0, mprotect p0 r", 2, 2),
    ("skip-dirty-clear", "write p0, free p0, reclaim p0 mm0", 1, 4),
]


@pytest.mark.parametrize(("policy", "words", "cpus", "fewest"), ILLEGAL)
def test_seeded_faults(policy: str, words: str, cpus: int, fewest: int) -> None:
    """Both searches find the fault by its rule, with the same fewest number of operations."""
    fault = REGISTRY[policy].fault
    assert fault
    reduced = search(policy, words, fewest, cpus=cpus)
    plain = search(policy, words, fewest, reductions=NONE, cpus=cpus)

    assert reduced.verdict == plain.verdict == (fault.rule, fewest)
    assert reduced.transitions < plain.transitions


@pytest.mark.parametrize(
    ("header", "words", "ops"),
    [
        (Header(2, 1, kinds.SHARED), "read p0, write p0", 2),
        (Header(2, 1), "read p0, mprotect p0 none", 2),
        (Header(2, 1), "write p0, munmap p0", 2),
        (Header(2, 1), "read p0, age p0 mm0", 2),
        (Header(2, 1, kinds.SHARED), "read p0, lazy", 2),
        (Header(2, 1, kinds.EMPTY), "write p0, mmap p0 rw private", 2),
        (Header(1, 1, asids=2), "write p0, fork, switch mm1", 3),
        (Header(1, 1, kinds.SHARED), "read p0, write p0, age p0 mm0", 3),
        (Header(1, 1), "read p0, pkey_mprotect p0 rw k1, wrpkru none k1", 3),
    ],
)
def test_no_world_is_missed(header: Header, words: str, ops: int) -> None:
    """The reduced search meets the same worlds at rest as the plain one does without any renaming.

    It still postpones only the fills and evictions after the last operation.
    """
    reduced = with_speculation(rested(header, words, ops))
    with patch("shootdown.prove.search.key_of", exact):
        worlds = rested(header, words, ops, reductions=NONE)
    plain = {key_of(w, oracle) for w, oracle in worlds}

    assert len(plain) > 3
    assert reduced == plain


def test_v1() -> None:
    """The defect of the posted series needs an access and an mprotect: a fetch that has faulted is overtaken."""
    found = [
        search("v1", "exec p0, mprotect p0 rx", 2, reductions=reductions)
        for reductions in (ALL, NONE)
    ]

    assert [one.verdict for one in found] == [("C2", 2), ("C2", 2)]


def test_one_cpu() -> None:
    """On one CPU the same defect needs one more access, which fills the TLB."""
    words = "read p0, exec p0, mprotect p0 rx"
    found = [search("v1", words, 3, reductions=reductions, cpus=1) for reductions in (ALL, NONE)]

    assert [one.verdict for one in found] == [("C2", 3), ("C2", 3)]


def test_fewest_means_none_with_fewer() -> None:
    """With one operation less than it needs, neither search finds a fault."""
    for reductions in (ALL, NONE):
        found = search("free-before-flush", "write p0, munmap p0", 1, reductions=reductions)
        assert found.verdict == ("", 1)


def test_the_empty_scope() -> None:
    """With nothing mapped, a load finds nothing, and there are fewer worlds than with a page."""
    found = search("linux", "read p0", 1, layout="empty")

    assert found.rule == ""
    assert found.worlds < search("linux", "read p0", 1).worlds


@pytest.mark.parametrize("reduction", Reductions._fields)
@pytest.mark.parametrize(
    ("policy", "words"),
    [("linux", "write p0, mprotect p0 r"), ("free-before-flush", "write p0, munmap p0")],
)
def test_each_reduction_by_itself(policy: str, words: str, reduction: str) -> None:
    """Without one of the reductions, and with only that one, the verdict is the same; it saves worlds in both cases."""
    without = search(policy, words, 2, reductions=ALL._replace(**{reduction: False}))
    alone = search(policy, words, 2, reductions=NONE._replace(**{reduction: True}))
    both, neither = search(policy, words, 2), search(policy, words, 2, reductions=NONE)

    assert without.verdict == alone.verdict == both.verdict == neither.verdict
    if not both.rule:
        assert both.worlds < without.worlds
        assert alone.worlds < neither.worlds


def test_a_blocked_move_changes_nothing() -> None:
    """The world in which a CPU could not move is used for the next move, as it was before."""
    blocked = 0

    def watched(w: World, scope: Scope, move: int) -> bool:
        nonlocal blocked
        oracle = w.observer
        assert isinstance(oracle, Oracle)
        before = exact(w, oracle)
        moved = carry_out(w, scope, move)
        if not moved:
            blocked += 1
            assert exact(w, oracle) == before
        return moved

    with patch("shootdown.prove.search.carry_out", watched):
        search("linux", "write p0, munmap p0, fork, dontneed p0", 2)
    assert blocked > 50
