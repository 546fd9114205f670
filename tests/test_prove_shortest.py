"""The shortest scenario that breaks a rule, found by trying all that are shorter."""

import pytest

from fuzz.execute import execute
from fuzz.prove.scope import Scope
from fuzz.prove.shortest import Shortest
from fuzz.scenario import Header, Scenario, kinds, parse
from fuzz.scenario.corpus import load
from optimized.policies import REGISTRY


def searched(
    policy: str, rule: str, words: str, records: int, *, cpus: int = 2
) -> tuple[Shortest, list[Scenario | None]]:
    """Search with these operations on one page of private memory; what each number of records gave."""
    lines = "".join(f"cpu0 {line}\n" for line in words.split(", "))
    text = f"shootdown-scenario 1\ncpus 1\npages 1\nlayout private\n\n{lines}"
    header = Header(cpus, 1, kinds.PRIVATE)
    scope = Scope(header, records, (words,), parse(text).scenario.records)
    shortest = Shortest(scope, REGISTRY[policy].make(), rule)
    return shortest, list(shortest.levels())


def found(policy: str, rule: str, words: str, records: int, *, cpus: int = 2) -> Scenario:
    """The scenario at which the search ended, which is the one that the last level gave."""
    shortest, levels = searched(policy, rule, words, records, cpus=cpus)
    *nothing, scenario = levels
    assert scenario is not None
    assert nothing == [None] * shortest.complete
    assert shortest.complete == len(scenario.records) - 1
    return scenario


def shortest_story(policy: str, rule: str) -> int:
    """How many records the shortest story of the corpus has that shows the fault by the rule."""
    return min(
        len(parsed.scenario.records)
        for parsed in load().values()
        for expected in parsed.expectations
        if (expected.policy, expected.rule) == (policy, rule)
    )


FAULTS = [
    ("free-before-flush", "read p0, write p0, munmap p0, dontneed p0", 2),
    ("copy-before-flush", "write p0, migrate p0 mm0", 2),
    ("v1-pending-leak", "write p0, mprotect p0 r", 2),
    ("skip-write-protect", "read p0, write p0, mprotect p0 r", 3),
    ("drop-last-page", "write p0, mprotect p0 r", 3),
    ("report-healed-fault", "write p0, mprotect p0 r, mprotect p0 rw", 3),
    ("skip-lazy-tables", "read p0, lazy, munmap p0", 3),
]


@pytest.mark.parametrize(("policy", "words", "records"), FAULTS)
def test_no_longer_than_the_story(policy: str, words: str, records: int) -> None:
    """What is found fails by the rule of the fault when it is executed, and is not longer than what people wrote."""
    fault = REGISTRY[policy].fault
    assert fault
    scenario = found(policy, fault.rule, words, 5)

    assert len(scenario.records) == records <= shortest_story(policy, fault.rule)
    assert execute(scenario, REGISTRY[policy].make()).rule == fault.rule


def test_v1_on_one_cpu() -> None:
    """Fill the TLB, allow to execute, execute: three records, as in the corpus."""
    scenario = found("v1", "C2", "read p0, exec p0, mprotect p0 r, mprotect p0 rx", 3, cpus=1)

    assert [record[0] for record in scenario.records] == [kinds.READ, kinds.MPROTECT, kinds.EXEC]
    assert len(scenario.records) == shortest_story("v1", "C2")
    assert execute(scenario, REGISTRY["v1"].make()).rule == "C2"


def test_v1_on_two_cpus() -> None:
    """A fetch that has faulted and is overtaken by the mprotect that allows it needs no other access: two records."""
    scenario = found("v1", "C2", "read p0, exec p0, mprotect p0 r, mprotect p0 rx", 3)

    assert [record[0] for record in scenario.records] == [kinds.EXEC, kinds.MPROTECT]
    assert execute(scenario, REGISTRY["v1"].make()).rule == "C2"


def test_a_violation_of_another_rule_is_none() -> None:
    """The search goes on past what breaks another rule than the one asked for."""
    policy, words = "free-before-flush", "write p0, dontneed p0"
    shortest, levels = searched(policy, "C5", words, 2)

    assert levels == [None, None]
    assert shortest.complete == 2


def test_nothing_to_find() -> None:
    """Under a sound policy every number of records is complete, and more of them lead to more worlds."""
    one, _ = searched("linux", "C1", "write p0, mprotect p0 r", 1)
    two, levels = searched("linux", "C1", "write p0, mprotect p0 r", 2)

    assert levels == [None, None]
    assert (one.complete, two.complete) == (1, 2)
    assert 0 < one.worlds < two.worlds
