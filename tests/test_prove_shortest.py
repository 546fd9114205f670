"""The shortest scenario that breaks a rule, found by trying all shorter ones."""

import pytest

from bench.shortest import stories_of
from shootdown.minimize import length
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.policy import Policy
from shootdown.prove.scope import Scope
from shootdown.prove.shortest import Shortest
from shootdown.run.execute import execute
from shootdown.scenario import Header, Scenario, kinds, parse


def searched(
    policy: str, rule: str, words: str, ops: int, *, cpus: int = 2
) -> tuple[Shortest, list[Scenario | None]]:
    """Search with these operations on one page of private memory, with room in a batch; return the result for each
    length.
    """
    lines = "".join(f"cpu0 {line}\n" for line in words.split(", "))
    text = f"shootdown-scenario 1\ncpus 1\npages 1\nlayout private\n\n{lines}"
    header = Header(cpus, 1, kinds.PRIVATE, batch=2)
    scope = Scope(header, ops, (words,), parse(text).scenario.records)
    shortest = Shortest(scope, REGISTRY[policy].make(), rule)
    return shortest, list(shortest.levels())


def found(policy: str, rule: str, words: str, ops: int, *, cpus: int = 2) -> Scenario:
    """Return the scenario at which the search ended, which is the one that the last level gave."""
    shortest, levels = searched(policy, rule, words, ops, cpus=cpus)
    *nothing, scenario = levels
    assert scenario is not None
    assert nothing == [None] * shortest.complete
    assert shortest.complete == length(scenario) - 1
    return scenario


FAULTS = [
    ("v1", "read p0, exec p0, mprotect p0 r, mprotect p0 rx"),
    ("free-before-flush", "read p0, write p0, munmap p0, dontneed p0"),
    ("copy-before-flush", "write p0, migrate p0 mm0"),
    ("swap-written-before-flush", "write p0, swapout p0 mm0"),
    ("v1-pending-leak", "write p0, mprotect p0 r"),
    ("skip-write-protect", "read p0, write p0, mprotect p0 r"),
    ("drop-last-page", "write p0, mprotect p0 r"),
    ("report-healed-fault", "read p0, exec p0, mprotect p0 rx"),
    ("skip-lazy-tables", "read p0, lazy, munmap p0"),
    ("skip-dirty-clear", "write p0, free p0, reclaim p0 mm0"),
    ("trust-accessed", "read p0, age p0 mm0, mprotect p0 none"),
    ("skip-absent", "read p0, write p0, dontneed p0"),
    ("skip-pkey", "read p0, pkey_mprotect p0 rw k1, wrpkru none k1"),
    ("dec-before-flush", "read p0, write p0, dontneed p0"),
]


@pytest.mark.parametrize(("policy", "words"), FAULTS)
def test_finds_what_stands_beside_the_fault(policy: str, words: str) -> None:
    """The result fails by the fault's rule when it is executed, and has the length that the fault states.

    That length is at most that of the stories that people wrote.
    """
    fault = REGISTRY[policy].fault
    assert fault
    scenario = found(policy, fault.rule, words, 5)

    assert length(scenario) == fault.shortest <= length(stories_of(REGISTRY[policy])[0])
    assert execute(scenario, REGISTRY[policy].make()).rule == fault.rule


@pytest.mark.parametrize("policy", [policy for policy in REGISTRY.values() if policy.fault])
def test_no_story_is_shorter_than_the_shortest(policy: Policy) -> None:
    """The length that each fault states is at most that of its shortest story; open lengths are below it."""
    assert policy.fault
    assert 0 < policy.fault.shortest <= length(stories_of(policy)[0])
    assert policy.fault.shortest_open_from < policy.fault.shortest


@pytest.mark.parametrize("cpus", [1, 2])
def test_v1_in_three_records(cpus: int) -> None:
    """Fill the TLB, allow to execute, execute: as in the corpus."""
    words = "read p0, exec p0, mprotect p0 r, mprotect p0 rx"
    scenario = found("v1", "C2", words, 3, cpus=cpus)

    assert [record[0] for record in scenario.records] == [kinds.READ, kinds.MPROTECT, kinds.EXEC]


def test_a_pause_costs_what_a_record_costs() -> None:
    """A store that has faulted is overtaken by one that makes the page writable: three records and a pause.

    They end at the fourth level.
    """
    scenario = found("report-healed-fault", "C2", "read p0, write p0", 4)

    assert sorted(record[0] for record in scenario.records) == [
        kinds.READ,
        kinds.WRITE,
        kinds.WRITE,
    ]
    assert sum(record[2] > 0 for record in scenario.records) == 1


def test_an_overtaken_fetch_is_no_violation() -> None:
    """A fetch that has faulted and is overtaken by the mprotect that allows it was denied when it was made."""
    _, levels = searched("v1", "C2", "exec p0, mprotect p0 rx", 3)

    assert levels == [None, None, None]


def test_a_violation_of_another_rule_is_none() -> None:
    """The search goes on if a rule other than the requested one is broken."""
    policy, words = "free-before-flush", "write p0, dontneed p0"
    shortest, levels = searched(policy, "C5", words, 2)

    assert levels == [None, None]
    assert shortest.complete == 2


def test_nothing_to_find() -> None:
    """Under a sound policy every length is complete, and a greater length leads to more worlds."""
    one, _ = searched("linux", "C1", "write p0, mprotect p0 r", 1)
    two, levels = searched("linux", "C1", "write p0, mprotect p0 r", 2)

    assert levels == [None, None]
    assert (one.complete, two.complete) == (1, 2)
    assert 0 < one.worlds < two.worlds
