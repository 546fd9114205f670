"""How fast an exhaustive search is, what each generated state costs, and what the reductions save.

    make compile && python -m bench.prove [--ops 3] [--policy linux]

A generated state is a state after a move, known or not: a transition. Times are CPU seconds of one process, on the
interpreted and on the compiled models. Each part is measured separately, on worlds from the middle of operations.
"""

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.forms import in_both_forms
from shootdown.form import is_compiled
from shootdown.mm.observer import Observer
from shootdown.mm.world import FlushStrategy
from shootdown.optimized.policies import REGISTRY
from shootdown.prove.canonical import key_of
from shootdown.prove.moves import carry_out, moves_in, world_of
from shootdown.prove.scope import OPERATIONS, Scope, scope_of
from shootdown.prove.search import NONE, Reductions, Search
from shootdown.prove.visited import Visited
from shootdown.run.oracle import Oracle
from shootdown.scenario.record import Header

CPUS = 2
PAGES = 2
SAMPLES = 64
"""How many worlds: few enough for a cache, because a search has just made the world that it works on."""
REPEATS = 200
SMALL = (("read", "mprotect"), ("write", "munmap"))
"""The operations of two scopes that are small enough for a search without any reduction: one page, two operations."""
SLOTS = 1 << 22


class Silent:
    """An observer that ignores everything."""

    def __init__(self) -> None:
        for name in dir(Observer):
            if not name.startswith("_"):
                setattr(self, name, lambda *_: None)


def searched(
    scope: Scope, strategy: FlushStrategy, reductions: Reductions | None = None
) -> tuple[Search, float, list[bytes]]:
    """Return a finished search, its CPU seconds, and the paths with which the last level began."""
    visited = Visited(SLOTS)
    search = Search(scope, strategy, visited, reductions=reductions or Reductions())
    start = time.process_time()
    paths = search.begin()
    for _ in range(scope.ops - 1):
        paths = search.expand(paths)
    search.expand(paths, last=True)
    spent = time.process_time() - start
    visited.close()
    return search, spent, paths


def parts(scope: Scope, strategy: FlushStrategy, paths: list[bytes]) -> dict[str, float]:
    """Return the microseconds of each part of a generated state."""
    before: list[tuple[Oracle, int]] = []
    for path in paths[:: len(paths) // SAMPLES or 1]:
        moves = moves_in(path)
        at = len(before) % len(moves)
        before.append((world_of(path[: 2 * at], scope, strategy)[1], moves[at]))
    oracles = [oracle for oracle, _ in before]
    keys = [key_of(oracle.world, oracle) for oracle in oracles]

    def copy(oracle: Oracle) -> None:
        oracle.fork()[1].detach()

    def move(pair: tuple[Any, int]) -> None:
        carry_out(pair[0], scope, pair[1])

    silence = Silent()

    def worlds(*, silent: bool) -> list[tuple[Any, int]]:
        copies = [(oracle.fork()[0], move) for oracle, move in before]
        if silent:
            for w, _ in copies:
                # It answers any name with a method that does nothing; no protocol can express that.
                w.observer = silence  # type: ignore[assignment]
        return copies

    watched = _microseconds(move, lambda: worlds(silent=False))
    alone = _microseconds(move, lambda: worlds(silent=True))
    table = Visited(1 << 16)
    result = {
        "canonical key": _microseconds(
            lambda oracle: key_of(oracle.world, oracle), lambda: oracles
        ),
        "copy of the world": _microseconds(copy, lambda: oracles),
        "the move": alone,
        "oracle": watched - alone,
        "table": _microseconds(table.add, lambda: keys),
        "nothing": _microseconds(lambda _: None, lambda: keys),
    }
    table.close()
    return result


def _microseconds(do: Callable[[Any], object], make: Callable[[], list[Any]]) -> float:
    """Return the CPU time of one call on a result of `make`; the time of `make` does not count."""
    spent, calls = 0.0, 0
    # The copies and their oracles refer to each other; a search leaves none of them to the garbage collector.
    gc.disable()
    for _ in range(REPEATS):
        made = make()
        start = time.process_time()
        for each in made:
            do(each)
        spent += time.process_time() - start
        calls += len(made)
        del made
        gc.collect()
    gc.enable()
    return spent / calls * 1e6


def measure(policy: str, ops: int) -> dict[str, object]:
    """Return the figures of the models in this process."""
    strategy = REGISTRY[policy].make()
    scope = scope_of(Header(CPUS, PAGES, asids=1, batch=1), ops, OPERATIONS)
    search, seconds, paths = searched(scope, strategy)
    return {
        "compiled": is_compiled(),
        "worlds": search.worlds,
        "transitions": search.transitions,
        "seconds": seconds,
        "rate": search.transitions / seconds,
        "parts": parts(scope, strategy, paths),
    }


def saved(policy: str) -> list[str]:
    """Return lines that say how many worlds and transitions are left when the reductions are added one
    after another.
    """
    lines = []
    for names in SMALL:
        scope = scope_of(Header(CPUS, 1, asids=1, batch=1), 2, names)
        reductions = NONE
        for added in ("", *Reductions._fields):
            if added:
                reductions = reductions._replace(**{added: True})
            search, _, _ = searched(scope, REGISTRY[policy].make(), reductions)
            what = f"and {added}" if added else f"{', '.join(names)}: none"
            lines.append(f"  {what:24}{search.worlds:>10,}{search.transitions:>12,}")
    return lines


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--policy", default="linux", choices=REGISTRY)
    parser.add_argument("--ops", type=int, default=3)
    parser.add_argument("--one", action="store_true", help="print this process's own figures")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.policy, options.ops)))
        return 0
    arguments = ["--one", f"--policy={options.policy}", f"--ops={options.ops}"]
    both = in_both_forms("bench.prove", arguments)
    print(
        f"{options.policy}: {CPUS} CPUs, {PAGES} pages, up to {options.ops} operations of {', '.join(OPERATIONS)}"
    )
    for result in both:
        print(
            f"  {'compiled' if result['compiled'] else 'interpreted':12}"
            f"{result['worlds']:,} worlds, {result['transitions']:,} generated states in"
            f" {result['seconds']:.1f} CPU seconds: {result['rate']:,.0f} a second"
        )
    print("\nMicroseconds for a generated state        interpreted    compiled")
    rows = {"all of it": [1e6 / result["rate"] for result in both]}
    rows |= {
        name: [result["parts"][name] - result["parts"]["nothing"] for result in both]
        for name in both[0]["parts"]
        if name != "nothing"
    }
    for name, (interpreted, compiled) in rows.items():
        print(f"  {name:40}{interpreted:>11.1f}{compiled:>12.1f}")
    print(f"\n{CPUS} CPUs, 1 page, 2 operations of       worlds   generated")
    print("\n".join(saved(options.policy)))
    same = both[0]["transitions"] == both[1]["transitions"]
    if not same:
        print("The compiled models do something else than the interpreted ones.", file=sys.stderr)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
