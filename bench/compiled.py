"""Whether the compiled models do the same as the interpreted ones, and how much faster.

    make compile && python -m bench.compiled [--scenarios 600]

Both trees run the same mutants of generated scenarios under every policy; a digest stands for everything that they
showed: verdicts, reasons, steps, costs, features, final worlds, and the traces of some. The exit code is 1 when the
digests differ.
"""

import argparse
import hashlib
import json
import sys
import time
from random import Random

from bench.forms import in_both_forms
from shootdown.evidence.trace_run import trace_run
from shootdown.form import is_compiled
from shootdown.fuzz.features import observe
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.fuzz.inputs.mutate import mutate
from shootdown.optimized.policies import REGISTRY
from shootdown.prove.canonical import key_of
from shootdown.run.execute import execute
from shootdown.scenario import decode, encode

RECORDS = 32
TRACED = 30
"""One scenario in this many is also traced."""


def digest(scenarios: int) -> dict[str, object]:
    """Return the digest of what the models of this process do, and its executions per CPU second."""
    digest = hashlib.sha256()
    spent = 0.0
    for name in sorted(REGISTRY):
        strategy, rng = REGISTRY[name].make(), Random(name)
        for i in range(scenarios):
            data = mutate(rng, encode(random_scenario(rng, RECORDS)), RECORDS)
            shown: set[int] = set()
            start = time.process_time()
            outcome = execute(decode(data), strategy, observe=observe, shown=shown)
            spent += time.process_time() - start
            found = outcome.violation
            where = (found.slot, found.cpu, found.kind) if found else None
            key = key_of(outcome.world, outcome.oracle)
            showed = (outcome.verdict, outcome.reason, outcome.steps, outcome.costs, where, key)
            digest.update(repr((name, showed, sorted(shown), outcome.oracle.versions)).encode())
            if not i % TRACED:
                digest.update(repr(trace_run(decode(data), strategy)[1].steps).encode())
    return {
        "compiled": is_compiled(),
        "digest": digest.hexdigest(),
        "rate": round(scenarios * len(REGISTRY) / spent),
    }


def main() -> int:
    """Compare the two trees."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenarios", type=int, default=600, help="of each policy")
    parser.add_argument("--one", action="store_true", help="print this process's own digest")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(digest(options.scenarios)))
        return 0
    arguments = ["--one", f"--scenarios={options.scenarios}"]
    interpreted, compiled = in_both_forms("bench.compiled", arguments)
    for result in (interpreted, compiled):
        print(json.dumps(result))
    same = interpreted["digest"] == compiled["digest"]
    print("the same" if same else "DIFFERENT")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
