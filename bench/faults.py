"""How long each engine needs to find each seeded fault by the rule of the fault; the table of medians.

    python -m bench.faults run [--engines atheris,random,coverage] [--seeds 10] [--limit 60] [--jobs 2] [--out FILE]
    python -m bench.faults table [--out FILE]

`run` appends one JSON line per run and skips the runs that the file already has, so it can be interrupted. A run that
did not find its fault within the limit is censored: it counts as longer than every one that did.
"""

from collections.abc import Sequence
from pathlib import Path

from bench.medians import median_told
from bench.runs import Run, command
from shootdown.optimized.policies import REGISTRY

DEFAULT_OUT = Path("bench/results/faults.jsonl")


def cell(runs: Sequence[Run]) -> str:
    """Return `executions / CPU seconds (found of runs)`, medians over all runs; censored runs count as the longest."""
    if not runs:
        return "-"
    found = sum(bool(r["found"]) for r in runs)
    medians = f"{median_told(runs, 'executions', 0)} / {median_told(runs, 'seconds', 2)}"
    return f"{medians} ({found} of {len(runs)})"


def table(runs: list[Run]) -> str:
    """Return the table in Markdown."""
    engines = list(dict.fromkeys(str(r["engine"]) for r in runs))
    lines = [
        "| fault | rule | " + " | ".join(engines) + " |",
        "| --- | --- |" + " --- |" * len(engines),
    ]
    for name, policy in REGISTRY.items():
        mine = [r for r in runs if r["fault"] == name]
        if mine and policy.fault:
            cells = [cell([r for r in mine if r["engine"] == engine]) for engine in engines]
            lines.append(f"| {name} | {policy.fault.rule} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, [n for n, p in REGISTRY.items() if p.fault], 60.0, DEFAULT_OUT, table)
