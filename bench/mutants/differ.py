"""How often a mutant ends in a different state from the unmutated models: evidence for a judgement, not a proof.

    python -m bench.mutants.differ NAME [--count 1000] [--seed 1]

The same random inputs run in two processes. Two runs are the same if they have the same verdict and end in worlds with
the same key; the key contains no costs.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from random import Random

from bench.forms import interpreted
from bench.mutants.mutant import draw
from bench.mutants.one import POLICY, RECORDS, UNMUTATED, install


def digests(name: str, count: int, seed: int) -> list[str]:
    """Return a digest of each run of the models in this process; the inputs depend on the mutant's name."""
    from shootdown.fuzz.inputs.generate import random_scenario  # noqa: PLC0415
    from shootdown.optimized.policies import REGISTRY  # noqa: PLC0415
    from shootdown.run.execute import execute  # noqa: PLC0415 - after the mutant is installed

    rng = Random(int(draw(name, seed)[:16], 16))
    strategy = REGISTRY[POLICY].make()
    found = []
    for _ in range(count):
        try:
            outcome = execute(random_scenario(rng, RECORDS), strategy)
            shown = f"{outcome.verdict} {outcome.reason} {outcome.world.key()}"
        except Exception as error:  # noqa: BLE001 - a crash is an outcome here
            shown = type(error).__name__
        found.append(hashlib.sha256(shown.encode()).hexdigest()[:16])
    return found


def main() -> None:
    """Print in how many runs the mutant differs, and the first of them; in the child process, print the digests."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mutant")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--as", dest="models", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.models:
        if options.models != UNMUTATED:
            install(options.models, Path(__file__).resolve().parents[2])
        print(json.dumps(digests(options.mutant, options.count, options.seed)))
        return
    both: list[list[str]] = []
    for models in (UNMUTATED, options.mutant):
        command = [sys.executable, "-m", "bench.mutants.differ", options.mutant, f"--as={models}"]
        command += [f"--count={options.count}", f"--seed={options.seed}"]
        done = subprocess.run(
            command, env=interpreted(), capture_output=True, text=True, check=True
        )
        both.append(json.loads(done.stdout))
    others = [at for at, (first, last) in enumerate(zip(*both, strict=True), 1) if first != last]
    where = f", first in number {others[0]}" if others else ""
    print(f"{options.mutant}: {len(others)} of {options.count} runs end otherwise{where}")


if __name__ == "__main__":
    main()
