"""The shortest counterexample of each seeded fault by its own rule, and how often the minimizer reaches its length.

    python -m bench.shortest search [--faults A,B] [--seconds 300]
    python -m bench.shortest reached [--faults A,B] [--inputs 100]

`search` explores every scenario that is shorter than the fault's shortest story and consists of the operations of its
stories and user accesses, in some layouts and on at most as many CPUs. Its output is kept with each fault
(Fault.shortest, and Fault.shortest_open_from if the search has to give up). `reached` minimizes that many fuzzed inputs
that fail by the fault's rule, and counts those that reach at most that length.
"""

import argparse
import time

from bench.inputs import failing_inputs, minimized
from shootdown.minimize import length
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.policy import Policy
from shootdown.prove.scope import Scope, scope_of
from shootdown.prove.shortest import Shortest
from shootdown.scenario import Scenario, corpus, kinds, render_record

BUDGET = 400
"""The most runs of the minimizer."""


def stories_of(policy: Policy) -> list[Scenario]:
    """Return the corpus scenarios that are expected to break the fault's rule under it, the shortest first."""
    found = [
        parsed.scenario
        for parsed in corpus.load().values()
        for expected in parsed.expectations
        if policy.fault and (expected.policy, expected.rule) == (policy.name, policy.fault.rule)
    ]
    return sorted(found, key=length)


def scopes_of(policy: Policy) -> list[Scope]:
    """Return the scopes in which to look for something shorter than the shortest story.

    They have the operations of the fault's stories and user accesses, on one CPU, two, and up to the stories' number;
    the shortest story's layout, private memory and shared memory; its batch and a batch of 1.
    """
    stories = stories_of(policy)
    story = stories[0]
    used = {
        record[0] for story in stories for record in story.records if record[0] in kinds.OPERATIONS
    }
    names = sorted({kinds.KINDS[kind].name for kind in used} | {"read", "write", "exec"})
    cpus = max(2, *(each.header.cpus for each in stories))
    headers = {
        story.header._replace(cpus=number, layout=layout, batch=batch)
        for number in range(1, cpus + 1)
        for layout in {story.header.layout, kinds.PRIVATE, kinds.SHARED}
        for batch in {story.header.batch, 1}
    }
    return [scope_of(header, length(story) - 1, names) for header in sorted(headers)]


def search(name: str, seconds: float) -> str:
    """Return what is known of a fault's shortest counterexample after that much CPU time in each scope."""
    policy = REGISTRY[name]
    if policy.fault is None:
        return f"{name}: not a fault"
    best = stories_of(policy)[0]
    excluded = length(best) - 1
    for scope in scopes_of(policy):
        start = time.process_time()
        levels = Shortest(scope._replace(ops=length(best) - 1), policy.make(), policy.fault.rule)
        for found in levels.levels():
            if found:
                best = found
            elif time.process_time() - start > seconds:
                break
        excluded = min(excluded, levels.complete)
    text = "; ".join(map(render_record, best.records))
    open_from = excluded + 1 if excluded + 1 < length(best) else 0
    return f"{name} ({policy.fault.rule}): {bounds(length(best), open_from)}: {text}"


def bounds(shortest: int, open_from: int) -> str:
    """Return a length as text, with what is known about shorter ones: see optimized.policy.Fault."""
    return f"{shortest} (open from {open_from})" if open_from else f"{shortest}"


def reached(name: str, inputs: int) -> str:
    """Return how many minima of fuzzed inputs are as short as the shortest counterexample."""
    policy = REGISTRY[name]
    if policy.fault is None:
        return f"{name}: not a fault"
    rule, shortest = policy.fault.rule, policy.fault.shortest
    minima = [minimized(name, scenario, BUDGET)[1] for scenario in failing_inputs(name, inputs, 1)]
    lengths = [length(small.scenario) for small in minima]
    short = sum(each <= shortest for each in lengths)
    spread = ", ".join(f"{n} x {lengths.count(n)}" for n in sorted(set(lengths)))
    known = bounds(shortest, policy.fault.shortest_open_from)
    return f"{name} ({rule}): {short} of {len(lengths)} reach {known} ({spread})"


def main() -> None:
    """Search, or count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["search", "reached"])
    parser.add_argument("--faults", default=",".join(n for n, p in REGISTRY.items() if p.fault))
    parser.add_argument("--seconds", type=float, default=300.0, help="CPU time for each search")
    parser.add_argument("--inputs", type=int, default=100)
    options = parser.parse_args()
    for name in options.faults.split(","):
        if options.what == "search":
            print(search(name, options.seconds), flush=True)
        else:
            print(reached(name, options.inputs), flush=True)


if __name__ == "__main__":
    main()
