"""Searches that begin in the middle, and what the hardware can make of the worlds that they meet."""

from functools import partial
from hashlib import blake2b
from unittest.mock import patch

from shootdown.mm.world import FlushStrategy, World
from shootdown.optimized.policies import REGISTRY
from shootdown.prove.canonical import key_of
from shootdown.prove.moves import carry_out, moves_in
from shootdown.prove.scope import Scope
from shootdown.prove.search import ALL, Node, Reductions, Search
from shootdown.prove.visited import Visited
from shootdown.run.execute import apply, boot
from shootdown.run.oracle import Oracle
from shootdown.scenario import Header, Record, Scenario, kinds, parse

Worlds = list[tuple[World, Oracle]]
SLOTS = 1 << 16


def operations(words: str) -> tuple[Record, ...]:
    """Return the operations that a search can start, as scenarios write them."""
    lines = "".join(f"cpu0 {line}\n" for line in words.split(", "))
    return parse(
        f"shootdown-scenario 1\ncpus 1\npages 8\nlayout private\n\n{lines}"
    ).scenario.records


def story(head: str, lines: str) -> Scenario:
    """Return the scenario of some lines, a record each; `head` is CPUs, pages and layout."""
    cpus, pages, layout = head.split()
    text = "\n".join(line.strip() for line in lines.split(", "))
    return parse(
        f"shootdown-scenario 1\ncpus {cpus}\npages {pages}\nlayout {layout}\n\n{text}\n"
    ).scenario


class Meets(Search):
    """A search that keeps the worlds that it makes, `met`, and those of them with nothing in flight, `rest`."""

    met: Worlds
    rest: Worlds

    def _key(self, w: World, oracle: Oracle) -> int:
        self.__dict__.setdefault("met", []).append(oracle.fork())
        return super()._key(w, oracle)

    def _rest(self, node: Node) -> None:
        self.__dict__.setdefault("rest", []).append(node[1].fork())
        super()._rest(node)


def _behind(
    begun: Scenario, path: bytes, scope: Scope, strategy: FlushStrategy
) -> tuple[World, Oracle]:
    """Return the world that a path leads to from the one that a scenario leads to."""
    w, oracle = boot(scope.header, strategy)
    for record in begun.records:
        apply(w, record)
    for move in moves_in(path):
        carry_out(w, scope, move)
    return w, oracle


def goes_on(
    begun: Scenario,
    words: str,
    *,
    strategy: FlushStrategy | None = None,
    reductions: Reductions = ALL,
) -> Meets:
    """Return a search under linux that has begun where a scenario ends, and has carried out one operation more.

    Error: Illegal.
    """
    visited = Visited(SLOTS)
    scope = Scope(begun.header, 1, (words,), operations(words))
    strategy = strategy or REGISTRY["linux"].make()
    search = Meets(scope, strategy, visited, reductions=reductions)
    try:
        with patch("shootdown.prove.search.world_of", partial(_behind, begun)):
            search.expand(search.begin(), last=True)
    finally:
        visited.close()
    return search


def exact(w: World, oracle: Oracle, **_renaming: bool) -> int:
    """Return a key that renames nothing and leaves nothing out of the world and its history."""
    digest = blake2b(repr((w.key(), oracle.key())).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def rested(
    header: Header,
    words: str,
    ops: int,
    *,
    strategy: FlushStrategy | None = None,
    reductions: Reductions = ALL,
) -> Worlds:
    """Return the worlds at rest that a search meets, under linux if no other strategy is given."""
    scope = Scope(header, ops, (words,), operations(words))
    visited = Visited(1 << 16)
    strategy = strategy or REGISTRY["linux"].make()
    searched = Meets(scope, strategy, visited, reductions=reductions)
    paths = searched.begin()
    for _ in range(ops):
        paths = searched.expand(paths)
    visited.close()
    return searched.rest


def with_speculation(worlds: Worlds) -> set[int]:
    """Return the keys of worlds, and of all that fills and evictions make of them."""
    keys: set[int] = set()
    todo = list(worlds)
    while todo:
        w, oracle = todo.pop()
        key = key_of(w, oracle)
        if key in keys:
            continue
        keys.add(key)
        for cpu in range(w.cpus):
            for page in range(w.pages):
                for what in range(len(kinds.FILLED.names)):
                    copy, other = oracle.fork()
                    copy.machine.fill(cpu, page, what)
                    todo.append((copy, other))
            # This includes an address space that is not loaded: its entry was evicted before the switch.
            for cached in w.machine.tlb[cpu]:
                copy, other = oracle.fork()
                del copy.machine.tlb[cpu][cached]
                todo.append((copy, other))
            for cached in w.machine.psc[cpu]:
                copy, other = oracle.fork()
                del copy.machine.psc[cpu][cached]
                todo.append((copy, other))
    return keys
