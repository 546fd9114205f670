"""The shortest counterexample of each seeded fault by its own rule, and how often the minimizer reaches its length.

    python -m bench.shortest search [--faults A,B] [--seconds 300]
    python -m bench.shortest reached [--faults A,B] [--inputs 100]

`search` explores every scenario up to the length of the fault's own story, of its operations and user accesses, in
some layouts and on as many CPUs or fewer. What it prints is kept beside each fault (Fault.shortest). `reached`
minimizes that many fuzzed inputs that fail by the fault's rule and counts those that come to at most that length.
"""

import argparse
import time

from bench.inputs import failing_inputs, minimized
from fuzz.minimize import length
from fuzz.prove.scope import Scope, scope_of
from fuzz.prove.shortest import Shortest
from fuzz.scenario import Scenario, corpus, kinds, render_record
from optimized.policies import REGISTRY
from optimized.policy import Policy

BUDGET = 300
"""Runs of the minimizer."""


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
    """Return where to look: the operations of the fault's stories and user accesses, on one CPU, two, and up to the
    stories' number, in the stories' layout, private memory and shared memory, with the stories' batch and a batch of 1.
    """
    stories = stories_of(policy)
    used = {record[0] for story in stories for record in story.records if record[0] < kinds.RUN}
    names = sorted({kinds.KINDS[kind].name for kind in used} | {"read", "write", "exec"})
    headers = {
        story.header._replace(cpus=cpus, layout=layout, batch=batch)
        for story in stories[:1]
        for cpus in range(1, max(2, story.header.cpus) + 1)
        for layout in {story.header.layout, kinds.PRIVATE, kinds.SHARED}
        for batch in {story.header.batch, 1}
    }
    return [scope_of(header, length(stories[0]), names) for header in sorted(headers)]


def search(name: str, seconds: float) -> str:
    """Return what is known of a fault's shortest counterexample after that much CPU time in each scope."""
    policy = REGISTRY[name]
    if policy.fault is None:
        return f"{name}: not a fault"
    best: Scenario | None = None
    bound = length(stories_of(policy)[0])
    open_from = bound
    for scope in scopes_of(policy):
        start = time.process_time()
        levels = Shortest(scope._replace(ops=bound), policy.make(), policy.fault.rule)
        for found in levels.levels():
            if found:
                best, bound = found, length(found) - 1
            elif time.process_time() - start > seconds:
                break
        else:
            continue
        open_from = min(open_from, levels.complete)
    text = "; ".join(map(render_record, best.records)) if best else "none"
    certain = "" if open_from >= bound else f" (none with {open_from}; between them not explored)"
    return f"{name} ({policy.fault.rule}): {length(best) if best else '-'}{certain}: {text}"


def reached(name: str, inputs: int) -> str:
    """Return how many minima of fuzzed inputs are as short as the shortest counterexample."""
    policy = REGISTRY[name]
    if policy.fault is None or not policy.fault.shortest:
        return f"{name}: the shortest is not known"
    rule = policy.fault.rule
    minima = [minimized(name, scenario, BUDGET)[1] for scenario in failing_inputs(name, inputs, 1)]
    lengths = [length(small.scenario) for small in minima]
    short = sum(each <= policy.fault.shortest for each in lengths)
    spread = ", ".join(f"{n} x {lengths.count(n)}" for n in sorted(set(lengths)))
    return f"{name} ({rule}): {short} of {len(lengths)} reach {policy.fault.shortest} ({spread})"


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
