"""Flushes, IPIs and invalidated pages of each policy against the reference, over one fixed set of scenarios.

    python -m bench.costs [--scenarios 2000] [--json]

The set is the same for every policy: generated scenarios in which every operation runs to completion, so that a policy
and the reference make the same changes of entries. Only costs are compared here; tests compare outcomes.
"""

import argparse
import json
from random import Random

from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.fuzz.inputs.schedule import lockstep, programs
from shootdown.mm.state import FLUSHES, FULL, INVALIDATED, IPIS, SPURIOUS
from shootdown.mm.world import FlushStrategy
from shootdown.optimized.policies import RULES
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import execute
from shootdown.scenario import Scenario

SEED = 20210925
COLUMNS = {
    "flushes": FLUSHES,
    "IPIs": IPIS,
    "pages": INVALIDATED,
    "full": FULL,
    "spurious": SPURIOUS,
}


def scenarios(count: int) -> list[Scenario]:
    """Return the fixed set."""
    rng = Random(SEED)
    drawn = (random_scenario(rng) for _ in range(count))
    return [Scenario(s.header, lockstep(programs(s))) for s in drawn]


def costs(strategy: FlushStrategy, chosen: list[Scenario]) -> dict[str, int]:
    """Return the summed counters of a strategy over the set."""
    sums = dict.fromkeys(COLUMNS, 0)
    for scenario in chosen:
        counters = execute(scenario, strategy).costs
        for name, index in COLUMNS.items():
            sums[name] += counters[index]
    return sums


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenarios", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = scenarios(options.scenarios)
    table = {"reference": costs(EagerFlush(), chosen)}
    for policy in RULES:
        table[policy.name] = costs(policy.make(), chosen)
    if options.json:
        print(json.dumps({"scenarios": options.scenarios, "seed": SEED, "costs": table}, indent=2))
        return
    reference = table["reference"]
    print(
        f"{options.scenarios} scenarios, seed {SEED}; in parentheses the share of the reference's cost"
    )
    print(f"{'policy':12}" + "".join(f"{name:>19}" for name in COLUMNS))
    for name, sums in table.items():
        cells = [
            f"{value:>10} ({value / reference[column]:6.1%})"
            if reference[column]
            else f"{value:>19}"
            for column, value in sums.items()
        ]
        print(f"{name:12}" + "".join(f"{cell:>19}" for cell in cells))


if __name__ == "__main__":
    main()
