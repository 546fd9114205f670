"""How long each engine needs for each bug of the catalogue: executions until reached, triggered and detected.

    python -m bench.history run [--engines LIST] [--no-corpus] [--seeds 10] [--limit 600] [--jobs 2] [--out FILE]
    python -m bench.history table [--out FILE]

The catalogue consists of the seeded faults that restore an entry of docs/linux-tlb.md part E. bench/stages.py defines
the three words; "detected" means by the rule of the fault. A run that did not reach a stage within the limit is
censored: it counts as longer than every run that did. With the corpus, the default engine begins from every scenario on
which the fault shows nothing illegal. The comparison of engines uses no corpus, so that stories written by people help
none of them: `atheris`, `random` and `coverage` share the generator and the mutators, `stock` has neither.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.medians import CENSORED, cell, median, number
from bench.runs import Run, command
from shootdown.optimized.policies import REGISTRY

DEFAULT_OUT = Path("bench/results/history.jsonl")
ENTRIES = {name: policy.fault.entry for name, policy in REGISTRY.items() if policy.fault}
CATALOGUE = sorted(
    (name for name, entry in ENTRIES.items() if entry), key=lambda n: int(ENTRIES[n])
)
SEEDED = ("atheris", True)
BASE = ("atheris", False)
OTHERS = (("random", False), ("coverage", False), ("stock", False))
TOLD = {SEEDED: "atheris with the corpus", **{each: each[0] for each in (BASE, *OTHERS)}}
FEWER = 5
"""The factor by which features should need fewer executions than code coverage."""


def of(runs: Sequence[Run], setting: tuple[str, bool], fault: str) -> list[Run]:
    """Return the runs of a fault in a setting: an engine, with or without the corpus."""
    return [
        r for r in runs if (r["engine"], r.get("seeded", True), r["fault"]) == (*setting, fault)
    ]


def table(runs: Sequence[Run]) -> str:
    """Return the table in Markdown, with a row for each fault, and the summary below it."""
    head = ["entry", "bug", "year", "rule", "reached", "triggered", "detected", "CPU s"]
    head += [TOLD[setting] for setting in (BASE, *OTHERS)]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for name in CATALOGUE:
        fault = REGISTRY[name].fault
        seeded = of(runs, SEEDED, name)
        if fault and seeded:
            cells = [fault.entry, name, str(fault.year), fault.rule]
            cells += [cell(seeded, s) for s in ("reached", "triggered", "executions", "seconds")]
            cells += [cell(of(runs, setting, name), "executions") for setting in (BASE, *OTHERS)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *summary(runs)])


def summary(runs: Sequence[Run]) -> list[str]:
    """Return the lines below the table: what every setting found, and how it compares with features without
    a corpus.
    """
    lines = []
    for setting, told in TOLD.items():
        per_bug = {name: mine for name in CATALOGUE if (mine := of(runs, setting, name))}
        if not per_bug:
            continue
        every = [r for mine in per_bug.values() for r in mine]
        found = sum(bool(r["found"]) for r in every)
        middle = {name: median(mine, "executions") for name, mine in per_bug.items()}
        seconds = statistics.median_low(median(mine, "seconds") for mine in per_bug.values())
        line = (
            f"- {told}: {found} of {len(every)} runs found their bug; median over the bugs "
            f"{number(statistics.median_low(middle.values()), 0)} executions, {number(seconds, 1)} CPU s"
        )
        base = {
            name: median(ours, "executions") for name in middle if (ours := of(runs, BASE, name))
        }
        ratios = [middle[name] / base[name] for name in base if base[name] < CENSORED]
        if setting in OTHERS and ratios:
            over = sum(ratio >= FEWER for ratio in ratios)
            line += (
                f"; {number(statistics.median_low(ratios), 1)} times the executions of features in the median,"
                f" {FEWER} times and more for {over} of {len(ratios)}"
            )
        lines.append(line + ".")
    return lines


if __name__ == "__main__":
    command(__doc__, CATALOGUE, 600.0, DEFAULT_OUT, table, "--stages", engines="atheris")
