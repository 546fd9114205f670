"""Executions per CPU second of a campaign on a kernel's own text, beside the policy of the models, in one run.

    python -m bench.kernel_rate TREE... [--policy linux] [--executions 2000] [--rounds 6] [--json]

The policies take turns in this process. Each turn is a session of the engine `loop` with feedback and its own corpus,
as a campaign has it, for the same number of executions and with the same seed; the best turn of each policy counts,
because a shared machine only makes a turn slower.
"""

import argparse
import json
import time
from contextlib import suppress

from bench.throughput import RECORDS, Silent
from shootdown.fuzz.engines.garbage import seldom_collected
from shootdown.fuzz.engines.registry import drive
from shootdown.fuzz.engines.session import Finished, Session
from shootdown.optimized.policy import Policy
from shootdown.policy.source import load_policy

ENGINE = "loop"


def seconds_of(policy: Policy, executions: int, seed: int) -> float:
    """Return the CPU seconds of a session."""
    sessions: list[Session] = []
    sessions.append(
        Session(
            policy,
            seed=seed,
            records=RECORDS,
            corpus=[],
            report=Silent(),
            stop=lambda: sessions[0].executions >= executions,
        )
    )
    start = time.process_time()
    with seldom_collected(), suppress(Finished):
        drive(ENGINE, sessions[0])
    return time.process_time() - start


def main() -> None:
    """Print a line for each policy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("trees", nargs="+", metavar="TREE")
    parser.add_argument("--policy", default="linux")
    parser.add_argument("--executions", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    specs = [arguments.policy, *(f"c:{tree}" for tree in arguments.trees)]
    policies = [load_policy(spec).policy for spec in specs]
    for policy in policies:
        # The libraries for all numbers of ASIDs are compiled before the clock runs.
        seconds_of(policy, 300, 1)
    best = [
        min(times)
        for times in zip(
            *[
                [seconds_of(policy, arguments.executions, turn) for policy in policies]
                for turn in range(arguments.rounds)
            ],
            strict=True,
        )
    ]
    rows = [
        {
            "policy": spec,
            "per_second": round(arguments.executions / seconds),
            "ratio": round(best[0] / seconds, 2),
        }
        for spec, seconds in zip(specs, best, strict=True)
    ]
    if arguments.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(
            f"{row['policy']}: {row['per_second']} executions per CPU second, {row['ratio']} of {specs[0]}"
        )


if __name__ == "__main__":
    main()
