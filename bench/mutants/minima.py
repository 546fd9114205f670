"""The results of the minimizer for failing inputs of one mutant, in its own process, for bench.minima.

    python -m bench.mutants.minima NAME SCENARIO [--inputs 6] [--budget 400] [--seed 4]

SCENARIO is a scenario that kills the mutant, in hexadecimal digits. The command prints the rows as JSON.
"""

import argparse
import json
from pathlib import Path

from bench.mutants.one import POLICY, install


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mutant")
    parser.add_argument("scenario")
    parser.add_argument("--inputs", type=int, default=6)
    parser.add_argument("--budget", type=int, default=400)
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args()
    install(options.mutant, Path(__file__).resolve().parents[2])

    # Imported here, because the models are mutated only if the mutant is installed before.
    from bench.inputs import inputs_like  # noqa: PLC0415
    from bench.minima import MUTANTS, rows_of  # noqa: PLC0415
    from shootdown.optimized.policies import REGISTRY  # noqa: PLC0415

    strategy = REGISTRY[POLICY].make()
    inputs = inputs_like(strategy, bytes.fromhex(options.scenario), options.inputs, options.seed)
    rows = rows_of(options.mutant, MUTANTS, strategy, inputs, options.budget)
    print(json.dumps([row._asdict() for row in rows]))


if __name__ == "__main__":
    main()
