"""One campaign against a tree with a bug, in this process: until the bug's rule is broken, or a limit of CPU seconds.

    python -m bench.kernel_bugs.one TREE BUG SEED [--limit 60]

The command prints one JSON object. The engine is the one that `shootdown fuzz` uses if none is given, and so are its
inputs: the corpus seeds it, except for the stories on which the bug shows anything illegal.
"""

import argparse
import json
import os
import resource
import time
from typing import Final

from bench.kernel_bugs.catalogue import CATALOGUE
from shootdown.evidence.investigate import Investigation
from shootdown.fuzz.campaign.seeds import seed_corpus
from shootdown.fuzz.engines.registry import DEFAULT_ENGINE, ENGINES, drive
from shootdown.fuzz.engines.session import Session
from shootdown.kernel.policy import PREFIX
from shootdown.policy.source import load_policy
from shootdown.run.execute import Outcome, execute
from shootdown.scenario import decode
from shootdown.scenario.verdict import ILLEGAL

RECORDS: Final = 32
"""The length of a scenario, as in a campaign that is not given another."""

MINIMIZATION: Final = 60
"""The limit in CPU seconds for what follows the campaign, and for an execution in it that does not end."""


class Failures:
    """Keeps the first failure of any rule, and the first by one rule, each with its execution and CPU seconds."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.start = time.process_time()
        self.session: Session | None = None
        self.any: dict[str, object] = {}
        self.found: dict[str, object] = {}
        self.first: tuple[bytes, Outcome] | None = None

    def failure(self, data: bytes, outcome: Outcome) -> None:
        """Note a failure."""
        now: dict[str, object] = {
            "rule": outcome.rule,
            "reason": outcome.reason,
            "executions": self.session.executions if self.session else 0,
            "seconds": round(time.process_time() - self.start, 2),
        }
        self.any = self.any or now
        if outcome.rule == self.rule and not self.found:
            self.found = now
            self.first = data, outcome

    def interesting(self, _data: bytes) -> None:
        """Do nothing: no corpus is kept besides the engine's own."""


def hunt(tree: str, name: str, seed: int, limit: float) -> dict[str, object]:
    """Return what a campaign has shown."""
    bug = CATALOGUE[name]
    policy = load_policy(f"{PREFIX}{tree}").policy
    strategy = policy.make()
    stories = seed_corpus()
    seeds = [data for data in stories if execute(decode(data), strategy).verdict != ILLEGAL]
    failures = Failures(bug.rule)
    session = failures.session = Session(
        policy,
        seed=seed,
        records=RECORDS,
        corpus=seeds,
        report=failures,
        stop=lambda: bool(failures.found) or time.process_time() - failures.start > limit,
        feedback=ENGINES[DEFAULT_ENGINE].feedback,
    )
    drive(DEFAULT_ENGINE, session)
    result: dict[str, object] = {
        "bug": name,
        "text": policy.name,
        "seed": seed,
        "limit": limit,
        "stories": len(stories) - len(seeds),
        "found": bool(failures.found),
        "total_executions": session.executions,
        "total_seconds": round(time.process_time() - failures.start, 2),
        "any": failures.any or None,
        **failures.found,
    }
    if failures.first:
        minimum = Investigation(policy).investigate(*failures.first).minimum
        result |= {"records": minimum.operations, "minimum": minimum.text}
    return result


def main() -> None:
    """Hunt and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tree")
    parser.add_argument("bug", choices=list(CATALOGUE))
    parser.add_argument("seed", type=int)
    parser.add_argument("--limit", type=float, default=60.0, help="CPU seconds")
    options = parser.parse_args()
    # An execution that never ends is beyond the reach of `stop`.
    most = int(options.limit + MINIMIZATION)
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    # What others print must not come between.
    real = os.dup(1)
    os.dup2(2, 1)
    result = hunt(options.tree, options.bug, options.seed, options.limit)
    os.write(real, (json.dumps(result) + "\n").encode())
    os._exit(0)


if __name__ == "__main__":
    main()
