"""What a proof covers, in operations and in words, and the set of the worlds that it has seen."""

import pytest

from shootdown.optimized.policies import REGISTRY
from shootdown.prove.driver import FIRST_SLOTS, Prover
from shootdown.prove.scope import UnusableScope, scope_of
from shootdown.prove.visited import Visited
from shootdown.scenario import Header, Scenario, decode, encode, kinds


def test_the_alphabet_of_a_scope() -> None:
    """Each operation comes with each page, all pages at once, and each argument that is another entry."""
    scope = scope_of(Header(2, 2), 1, ["read", "munmap", "mprotect", "fork", "mremap", "switch"])
    alphabet = scope.alphabet
    of = {kind: [record for record in alphabet if record[0] == kind] for kind, *_ in alphabet}

    assert [record[3:5] for record in of[kinds.READ]] == [(0, 1), (1, 1)]
    assert [record[3:5] for record in of[kinds.MUNMAP]] == [(0, 1), (1, 1), (0, 2)]
    assert len(of[kinds.MPROTECT]) == 3 * 5
    assert of[kinds.FORK] == [(kinds.FORK, 0, 0, 0, 1, 0)]
    assert {record[5] for record in of[kinds.MREMAP]} == {0, 1}
    assert {record[5] for record in of[kinds.SWITCH]} == {0, 1, 2}
    assert len({*alphabet}) == len(alphabet)


def test_records_of_a_scope_are_canonical() -> None:
    """Every operation of a scope can be expressed in a scenario."""
    names = [kinds.KINDS[kind].name for kind in kinds.OPERATIONS]
    scope = scope_of(Header(2, 3), 1, names)
    scenario = Scenario(scope.header, scope.alphabet)

    assert decode(encode(scenario)) == scenario


@pytest.mark.parametrize("name", ["sleep", "", "fill", "run", "READ"])
def test_an_unknown_operation(name: str) -> None:
    """An unknown name is one sentence, which lists the operations."""
    with pytest.raises(
        UnusableScope,
        match=r"^'.*' is no operation; there are read, .*pin, numa_scan, swapout, copy, ksm, shrink, .*wrpkru\.$",
    ):
        scope_of(Header(2, 2), 1, ["read", name])


def test_a_scope_in_words() -> None:
    """The words name everything that bounds the search."""
    one = scope_of(Header(1, 1), 1, ["read"])
    more = scope_of(replace_header(Header(2, 3), "shared", kinds.AMD, 2), 4, ["read", "write"])

    assert one.words() == (
        "1 CPU, 1 page (private, 1 ASID, batch 1), up to 1 operations of read;"
        " speculative fill and eviction at any time"
    )
    assert more.words().startswith("2 CPUs, 3 pages (shared, machine amd, 2 ASIDs, batch 1)")


def replace_header(header: Header, layout: str, machine: int, asids: int) -> Header:
    """Return the header with another layout, machine and number of ASIDs."""
    return header._replace(layout=kinds.LAYOUTS.index(layout), machine=machine, asids=asids)


def test_the_set_of_worlds() -> None:
    """A hash is new once, even if others have the same place in the table, and is new again with fewer operations."""
    visited = Visited(8)
    keys = [8 << 4, 16 << 4, 24 << 4, 7 << 4, 15 << 4]

    assert [visited.add(key, 3) for key in keys] == [True] * 5
    assert [visited.add(key, 3) for key in keys] == [False] * 5
    assert not visited.add(keys[0], 4)
    assert [visited.add(keys[0], 2), visited.add(keys[0], 2)] == [True, False]
    assert sorted(visited) == sorted([keys[0] | 2, *(key | 3 for key in keys[1:])])
    visited.close()


def test_the_table_grows() -> None:
    """A larger table holds what the smaller one held."""
    small = scope_of(Header(2, 1), 2, ["read"])
    prover = Prover(small, REGISTRY["linux"].make(), memory=1 << 40)
    for key in range(16, 1600, 16):
        prover.visited.add(key, 2)
    prover._grow(FIRST_SLOTS)

    assert prover.visited.slots > FIRST_SLOTS
    assert sorted(prover.visited) == list(range(18, 1602, 16))
    assert not prover.visited.add(80, 2)
    prover.visited.close()
