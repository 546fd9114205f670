"""How many canonical forms the minimizer makes of different failing inputs of one fault, and in how many runs.

    python -m bench.minima [--inputs 30] [--budget 400] [--faults NAME,...] [--seed 4] [--headers] [--json]

One row for each fault and reason, because rule and reason are part of what a finding is: freeing a frame and freeing
a page table too early are two findings of one fault. Each input keeps its own reason while it is minimized.
"spent" counts inputs whose budget ran out before it was known that nothing simpler is left, "loose" those of whose
minimum an operation can still be dropped. With --headers every input is minimized once more from each other layout,
and from each other machine, number of identifiers and batch, in which it still fails.
"""

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from bench.inputs import failing_inputs, minimized, other_headers
from shootdown.minimize import Minimized, length
from shootdown.mm.flush import FlushStrategy
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import execute
from shootdown.scenario import Scenario, render


class Row(NamedTuple):
    """What became of the inputs of one fault and one reason."""

    fault: str
    reason: str
    inputs: int
    forms: int
    runs_median: float
    runs_max: int
    spent: int
    loose: int
    length: int
    texts: list[str]
    """The forms, the most frequent first."""


def minima(name: str, inputs: list[Scenario], budget: int) -> Iterator[Row]:
    """Minimize failing inputs of a fault, and yield a row for each reason."""
    strategy = REGISTRY[name].make()
    by_reason: dict[str, list[Minimized]] = {}
    for scenario in inputs:
        reason, result = minimized(name, scenario, budget)
        by_reason.setdefault(reason, []).append(result)
    for reason, results in sorted(by_reason.items()):
        forms = Counter(result.scenario for result in results)
        yield Row(
            name,
            reason,
            len(results),
            len(forms),
            statistics.median(result.runs for result in results),
            max(result.runs for result in results),
            sum(not result.complete for result in results),
            sum(_loose(form, strategy, reason) * count for form, count in forms.items()),
            max(map(length, forms)),
            [render(form) for form, _ in forms.most_common()],
        )


def _loose(form: Scenario, strategy: FlushStrategy, reason: str) -> bool:
    """Whether an operation of the form can be dropped."""
    records = form.records
    return any(
        execute(Scenario(form.header, records[:at] + records[at + 1 :]), strategy).reason == reason
        for at in range(len(records))
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=30)
    parser.add_argument("--budget", type=int, default=400)
    parser.add_argument("--faults", default=",".join(n for n, p in REGISTRY.items() if p.fault))
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--headers", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[Row] = []
    if not options.json:
        print(
            f"{'fault':25}{'reason':26}{'inputs':>6}{'forms':>6}{'median':>7}{'max':>5}"
            f"{'spent':>6}{'loose':>6}{'length':>7}"
        )
    for name in options.faults.split(","):
        if REGISTRY[name].fault is None:
            parser.error(f"{name} is not a seeded fault")
        inputs = failing_inputs(name, options.inputs, options.seed)
        if options.headers:
            inputs += [each for scenario in inputs for each in other_headers(name, scenario)]
        for row in minima(name, inputs, options.budget):
            rows.append(row)
            if not options.json:
                print(
                    f"{row.fault:25}{row.reason:26}{row.inputs:>6}{row.forms:>6}{row.runs_median:>7.0f}"
                    f"{row.runs_max:>5}{row.spent:>6}{row.loose:>6}{row.length:>7}",
                    flush=True,
                )
    if options.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))


if __name__ == "__main__":
    main()
