"""How many canonical forms the minimizer makes of different failing inputs of one fault, and in how many runs.

    python -m bench.minima [--inputs 30] [--budget 300] [--faults NAME,...] [--json]

The inputs are generated scenarios, and mutants of corpus scenarios where generation alone is too slow, on which the
fault shows the rule that it names; each keeps its own reason while it is minimized.
"""

import argparse
import json
import statistics
from random import Random

from fuzz.execute import execute
from fuzz.minimize import minimize
from fuzz.scenario import Scenario, corpus, decode, encode, render
from fuzz.scenario.generate import random_scenario
from fuzz.scenario.mutate import crossover, mutate
from mm.flush import FlushStrategy
from optimized.policies import REGISTRY

SEED = 4
RECORDS = 32
TRIES = 200_000


def failing_inputs(name: str, rule: str, wanted: int) -> list[Scenario]:
    """Return up to `wanted` different scenarios of RECORDS records that break the rule."""
    strategy = REGISTRY[name].make()
    rng = Random(SEED)
    stories = [encode(parsed.scenario) for parsed in corpus.load().values()]
    found: dict[bytes, Scenario] = {}
    for turn in range(TRIES):
        fresh = random_scenario(rng, RECORDS)
        if turn % 2:
            story = crossover(rng, encode(fresh), rng.choice(stories), RECORDS)
            fresh = decode(mutate(rng, story, RECORDS))
        if len(fresh.records) == RECORDS and execute(fresh, strategy).rule == rule:
            found[encode(fresh)] = fresh
            if len(found) == wanted:
                break
    return list(found.values())


def reduce(inputs: list[Scenario], strategy: FlushStrategy, budget: int) -> dict[str, object]:
    """Minimize each input and return what came of them."""
    forms: dict[tuple[str, str], int] = {}
    runs: list[int] = []
    lengths: list[int] = []
    for scenario in inputs:
        reason = execute(scenario, strategy).reason

        def same(candidate: Scenario, reason: str = reason) -> bool:
            return execute(candidate, strategy).reason == reason

        result = minimize(scenario, same, budget=budget)
        key = (reason, render(result.scenario))
        forms[key] = forms.get(key, 0) + 1
        runs.append(result.runs)
        lengths.append(len(result.scenario.records))
    return {
        "inputs": len(inputs),
        "forms": len(forms),
        "runs_median": statistics.median(runs) if runs else 0,
        "runs_max": max(runs, default=0),
        "length_max": max(lengths, default=0),
        "texts": [text for (_, text), _ in sorted(forms.items(), key=lambda form: -form[1])],
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=30)
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--faults", default=",".join(n for n, p in REGISTRY.items() if p.fault))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.json:
        print(f"{'fault':28}{'inputs':>7}{'forms':>6}{'runs median':>12}{'max':>5}{'length':>7}")
    table = {}
    for name in options.faults.split(","):
        fault = REGISTRY[name].fault
        if fault is None:
            parser.error(f"{name} is not a seeded fault")
        inputs = failing_inputs(name, fault.rule, options.inputs)
        row = table[name] = reduce(inputs, REGISTRY[name].make(), options.budget)
        if not options.json:
            print(
                f"{name:28}{row['inputs']:>7}{row['forms']:>6}{row['runs_median']:>12}"
                f"{row['runs_max']:>5}{row['length_max']:>7}",
                flush=True,
            )
    if options.json:
        print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
