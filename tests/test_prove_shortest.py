"""The shortest scenario that breaks a rule, in records."""

import pytest

from fuzz.execute import execute
from fuzz.prove.scope import scope_of
from fuzz.prove.shortest import Shortest
from fuzz.scenario import Header, Scenario
from optimized.policies import REGISTRY

SHORTEST = [
    ("v1", 1, 3, ["read", "mprotect", "exec"]),
    ("v1", 2, 2, ["mprotect", "exec"]),
    ("skip-write-protect", 1, 3, ["read", "write", "mprotect"]),
    ("free-before-flush", 1, 2, ["read", "munmap"]),
    ("skip-lazy-tables", 2, 3, ["read", "lazy", "munmap"]),
    ("copy-before-flush", 1, 2, ["write", "migrate"]),
    ("v1-pending-leak", 1, 2, ["read", "mprotect"]),
]
"""Policy, CPUs, records, and operations. A second CPU saves v1 the load that fills the TLB: the fetch itself is what
waits in its fault while the right arrives."""


@pytest.mark.parametrize(("name", "cpus", "length", "names"), SHORTEST)
def test_length(name: str, cpus: int, length: int, names: list[str]) -> None:
    """So many records and no fewer, and the scenario fails by the rule in a run of its own."""
    fault = REGISTRY[name].fault
    assert fault is not None
    strategy = REGISTRY[name].make()
    search = Shortest(scope_of(Header(cpus, 1), length, names), strategy, fault.rule)
    *shorter, found = search.levels()

    assert shorter == [None] * (length - 1)
    assert isinstance(found, Scenario)
    assert len(found.records) == length
    assert execute(found, strategy).rule == fault.rule
    assert search.complete == length - 1


def test_an_unbroken_policy_has_none() -> None:
    """Every level is complete."""
    search = Shortest(
        scope_of(Header(2, 1), 2, ["write", "mprotect"]), REGISTRY["linux"].make(), "C1"
    )

    assert list(search.levels()) == [None, None]
    assert search.complete == 2
