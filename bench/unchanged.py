"""Whether a change of the code left the behaviour of the models alone: the same outcomes, findings and verdicts.

    python -m bench.unchanged draw FILE [--scenarios 5000] [--seed 18]
    python -m bench.unchanged show FILE [--against RESULT] > RESULT

`draw` writes mutants of generated scenarios, one line of hexadecimal digits each, so that the inputs of a comparison
stay the same when the generator changes. `show` prints, as JSON, what the code shows for them:

- `outcomes`: for each of five policies a digest of verdict, reason, steps, costs and the place of the violation;
- `findings`: for each seeded fault the keys of the minima of its first failing inputs, including those of the corpus;
- `corpus`: for each scenario of the corpus its verdict under every policy, as a digest.

With --against, the differences from an earlier result go to standard error, and the exit code is 1 if there are any.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from shootdown.evidence.investigate import Investigation
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.fuzz.inputs.mutate import mutate
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import Outcome, execute
from shootdown.scenario import corpus, decode, encode

RECORDS = 32
POLICIES = ("linux", "v1", "arm64", "latr", "linux-pv")
FAILING = 2
"""For each fault, how many drawn inputs and how many of the corpus are minimized."""


def drawn(scenarios: int, seed: int) -> Iterator[bytes]:
    """Yield mutants of generated scenarios."""
    rng = Random(seed)
    for _ in range(scenarios):
        yield mutate(rng, encode(random_scenario(rng, RECORDS)), RECORDS)


def told(outcome: Outcome) -> str:
    """Return what an outcome shows, as text."""
    found = outcome.violation
    where = (found.slot, found.cpu, found.kind) if found else None
    return repr((outcome.verdict, outcome.reason, outcome.steps, list(outcome.costs), where))


def digest_of(policy: str, inputs: list[bytes]) -> str:
    """Return a digest of what a policy shows on the inputs."""
    strategy, digest = REGISTRY[policy].make(), hashlib.sha256()
    for data in inputs:
        digest.update(told(execute(decode(data), strategy)).encode())
    return digest.hexdigest()


def keys_of(fault: str, *sources: list[bytes]) -> list[str]:
    """Return the keys of the findings from the first failing inputs of each source, sorted."""
    policy = REGISTRY[fault]
    strategy = policy.make()
    investigation = Investigation(policy)
    keys: set[str] = set()
    for inputs in sources:
        left = FAILING
        for data in inputs:
            outcome = execute(decode(data), strategy)
            if outcome.rule:
                keys.add(investigation.investigate(data, outcome).minimum.key)
                left -= 1
                if not left:
                    break
    return sorted(keys)


def shown(inputs: list[bytes]) -> dict[str, dict[str, object]]:
    """Return what the code shows, as `show` prints it."""
    stories = {name: encode(parsed.scenario) for name, parsed in corpus.load().items()}
    return {
        "outcomes": {policy: digest_of(policy, inputs) for policy in POLICIES},
        "corpus": {policy: digest_of(policy, list(stories.values())) for policy in REGISTRY},
        "findings": {
            name: keys_of(name, inputs, list(stories.values()))
            for name, policy in REGISTRY.items()
            if policy.fault
        },
    }


def differences(before: dict[str, dict[str, object]], after: dict[str, dict[str, object]]) -> int:
    """Write one line for each part that differs; return how many do."""
    count = 0
    for part in sorted(before.keys() | after.keys()):
        old, new = before.get(part, {}), after.get(part, {})
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                count += 1
                print(
                    f"{part} {name}: {old.get(name)} before, {new.get(name)} now", file=sys.stderr
                )
    return count


def main() -> int:
    """Draw inputs, or show what the code makes of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("draw", "show"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--scenarios", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    if options.command == "draw":
        lines = [data.hex() for data in drawn(options.scenarios, options.seed)]
        options.file.write_text("\n".join(lines) + "\n")
        return 0
    result = shown([bytes.fromhex(line) for line in options.file.read_text().split()])
    print(json.dumps(result, indent=1))
    if options.against is None:
        return 0
    return min(1, differences(json.loads(options.against.read_text()), result))


if __name__ == "__main__":
    sys.exit(main())
