"""Exhaustive search: the reductions change no answer."""

from typing import Final, NamedTuple

import pytest

from fuzz.execute import execute
from fuzz.prove.counterexample import operations_in, scenario_of
from fuzz.prove.scope import Scope, scope_of
from fuzz.prove.search import Illegal, Search
from fuzz.prove.visited import Visited
from fuzz.scenario import Header, Scenario
from fuzz.scenario.kinds import LAYOUTS
from optimized.policies import REGISTRY


class Explored(NamedTuple):
    """What a search came to: the operations of the counterexample, -1 for none, and the transitions that it took."""

    operations: int
    reason: str
    transitions: int
    worlds: int
    scenario: Scenario | None


def explore(name: str, scope: Scope, rules: frozenset[str], *, reduced: bool) -> Explored:
    """Search a scope under a policy."""
    strategy = REGISTRY[name].make()
    visited = Visited(1 << 18)
    search = Search(scope, strategy, visited, rules=rules, reduced=reduced)
    try:
        frontier = search.begin()
        for level in range(scope.ops):
            frontier = search.expand(frontier, last=level + 1 == scope.ops)
    except Illegal as illegal:
        shown = scenario_of(illegal.path, scope, strategy)
        return Explored(
            operations_in(shown), illegal.reason, search.transitions, search.worlds, shown
        )
    return Explored(-1, "", search.transitions, search.worlds, None)


def small(names: str, ops: int, layout: str = "private", cpus: int = 2, pages: int = 1) -> Scope:
    """A scope of few operations."""
    header = Header(cpus, pages, LAYOUTS.index(layout), 0, 1, 1)
    return scope_of(header, ops, names.split())


SMALL: Final = {
    "v1": small("read mprotect exec", 3),
    "skip-write-protect": small("write mprotect", 2),
    "report-healed-fault": small("read write", 3),
    "free-before-flush": small("read munmap", 2),
    "skip-lazy-tables": small("read lazy munmap", 3),
    "copy-before-flush": small("write migrate", 2),
    "skip-dirty-clear": small("write free reclaim", 4, cpus=1),
    "trust-accessed": small("read mprotect age", 4, cpus=1),
    "v1-pending-leak": small("read mprotect", 2),
}
"""A scope for each fault, in which it shows."""

LEGAL: Final = [
    ("linux", small("write mprotect", 2)),
    ("minimal", small("write uffd_register uffd_wp", 2)),
    ("always", small("read munmap", 2)),
    ("v3", small("write fork", 2)),
]


def rules_of(name: str) -> frozenset[str]:
    """The rule that a fault names."""
    fault = REGISTRY[name].fault
    assert fault is not None
    return frozenset({fault.rule})


@pytest.mark.parametrize("name", SMALL)
def test_the_reduced_search_finds_as_short_a_counterexample(name: str) -> None:
    """By the rule of a fault, the plain search finds nothing with fewer operations than the reduced one, nor more; and
    the scenario that the search ends with fails in a run of its own, for the same reason.
    """
    rules = rules_of(name)
    reduced = explore(name, SMALL[name], rules, reduced=True)

    assert reduced.scenario is not None
    outcome = execute(reduced.scenario, REGISTRY[name].make())
    assert (outcome.reason, outcome.rule) == (reduced.reason, *rules)
    fewer = SMALL[name]._replace(ops=reduced.operations)
    assert explore(name, fewer, rules, reduced=False).operations == reduced.operations


@pytest.mark.parametrize(("name", "scope"), LEGAL)
def test_both_searches_find_nothing_where_nothing_is(name: str, scope: Scope) -> None:
    """An unbroken policy is legal in either search, and the reductions save more than half of the transitions."""
    reduced = explore(name, scope, frozenset(), reduced=True)
    plain = explore(name, scope, frozenset(), reduced=False)

    assert (reduced.operations, plain.operations) == (-1, -1)
    assert reduced.transitions * 2 < plain.transitions
    assert reduced.worlds < plain.worlds


def test_fewest_operations_first() -> None:
    """A wrong SIGSEGV of v1 needs two operations: a fetch that waits in its fault, and mprotect."""
    found = explore("v1", SMALL["v1"], frozenset({"C2"}), reduced=True)

    assert (found.operations, found.reason) == (2, "denied-though-allowed")
