"""How long each engine needs for each bug of the catalogue: executions until reached, triggered and detected.

    python -m bench.history run [--engines atheris,random,coverage] [--seeds 10] [--limit 600] [--jobs 2] [--out FILE]
    python -m bench.history table [--out FILE]

The catalogue are the seeded faults that put back an entry of docs/linux-tlb.md part E; what the three words mean is
said in bench/stages.py, and detected is by the rule that the fault names. A run that did not come to a stage within the
limit is censored: it counts as longer than every one that did.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.faults import Run, command
from optimized.policies import REGISTRY

DEFAULT_OUT = Path("bench/results/history.jsonl")
ENTRIES = {name: policy.fault.entry for name, policy in REGISTRY.items() if policy.fault}
CATALOGUE = sorted(
    (name for name, entry in ENTRIES.items() if entry), key=lambda n: int(ENTRIES[n])
)
CENSORED = float("inf")


def median(runs: Sequence[Run], stage: str) -> str:
    """Return the median of a stage over all runs, censored ones as longest, and how many came to it if not all did."""
    reached = [float(str(r.get(stage) or CENSORED)) for r in runs]
    came = sum(value < CENSORED for value in reached)
    middle = statistics.median_low(reached)
    number = (
        "-" if middle == CENSORED else f"{middle:,.0f}" if stage != "seconds" else f"{middle:,.1f}"
    )
    return number if came == len(runs) else f"{number} ({came} of {len(runs)})"


def table(runs: Sequence[Run]) -> str:
    """Return the table in Markdown, a row for each entry and engine."""
    lines = [
        "| entry | bug | year | rule | engine | reached | triggered | detected | CPU s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in CATALOGUE:
        fault = REGISTRY[name].fault
        engines = dict.fromkeys(str(r["engine"]) for r in runs if r["fault"] == name)
        for engine in engines:
            mine = [r for r in runs if (r["fault"], r["engine"]) == (name, engine)]
            cells = [
                median(mine, each) for each in ("reached", "triggered", "executions", "seconds")
            ]
            if fault:
                known = f"| {fault.entry} | {name} | {fault.year} | {fault.rule} | {engine} | "
                lines.append(known + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, CATALOGUE, 600.0, DEFAULT_OUT, table, "--stages")
