"""What inputs of each origin are worth: how many of 100,000 break the rule of a seeded fault.

    python -m bench.origins [--faults LIST] [--executions 60000] [--seed 1]

This is a corpus loop like that of the feedback engines, in which each origin has a fixed share: fresh, redrawn, changed
and crossed as in fuzz/inputs/mutate.py. A failing input is not kept, so that no other is found by changing it. The
shares in `fuzz.inputs.mutate.vary` and `fuzz.engines.session` come from this.
"""

import argparse
from collections import Counter
from random import Random

from shootdown.fuzz.features import observe
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.fuzz.inputs.mutate import crossover, mutate, redraw
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import decode, encode
from shootdown.scenario.verdict import ILLEGAL

RECORDS = 32
FIRST = 20
ORIGINS = ("fresh", "redrawn", "changed", "crossed")
SHARES = (40, 20, 20, 20)
FAULTS = ("zap-range-unflushed", "v1-migration-entry", "sample-early", "merge-pending-unseen")
UNIT = 100_000


def yields(fault: str, executions: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """Return how many inputs of each origin were executed, and how many of these broke the rule of the fault."""
    policy = REGISTRY[fault]
    strategy, rng = policy.make(), Random(seed)
    rule = policy.fault.rule if policy.fault else ""
    corpus: list[bytes] = []
    known: set[int] = set()
    run: Counter[str] = Counter()
    broke: Counter[str] = Counter()
    for _ in range(executions):
        origin = rng.choices(ORIGINS, SHARES)[0] if len(corpus) >= FIRST else ORIGINS[0]
        data = _input(origin, rng, corpus)
        shown: set[int] = set()
        outcome = execute(decode(data), strategy, observe=observe, shown=shown)
        run[origin] += 1
        if outcome.verdict == ILLEGAL:
            broke[origin] += outcome.rule == rule
        elif not shown <= known:
            known |= shown
            corpus.append(data)
    return run, broke


def _input(origin: str, rng: Random, corpus: list[bytes]) -> bytes:
    if origin == "fresh":
        return encode(random_scenario(rng, RECORDS))
    kept = rng.choice(corpus)
    if origin == "crossed":
        return crossover(rng, kept, rng.choice(corpus), RECORDS)
    return (redraw if origin == "redrawn" else mutate)(rng, kept, RECORDS)


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--executions", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    faults = options.faults.split(",")
    if unknown := [name for name in faults if name not in REGISTRY or not REGISTRY[name].fault]:
        parser.error(f"no seeded fault is called {', '.join(unknown)}")
    print("| fault | " + " | ".join(ORIGINS) + " |")
    print("| --- |" + " ---: |" * len(ORIGINS))
    for fault in faults:
        run, broke = yields(fault, options.executions, options.seed)
        cells = [f"{UNIT * broke[origin] / max(run[origin], 1):.0f}" for origin in ORIGINS]
        print(f"| {fault} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
