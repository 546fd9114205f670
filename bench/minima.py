"""How many canonical forms the minimizer makes from different failing inputs of one fault, and in how many runs.

    python -m bench.minima [--inputs 30] [--budget 400] [--faults NAME,...] [--seed 4] [--headers] [--json]
    python -m bench.minima --mutants bench/results/mutants-after.jsonl [--inputs 6] [--json]
    python -m bench.minima --groups RESULT [RESULT ...]

There is one row for each fault and reason, because rule and reason are part of a finding: freeing a frame and freeing a
page table too early are two findings of one fault. Each input keeps its own reason during minimization. "spent" counts
inputs whose budget ran out before it was known that nothing simpler is left. "loose" counts inputs from whose minimum
an operation can still be dropped. With --headers every input is minimized once more from each other layout, and from
each other machine, number of identifiers and batch, in which it still fails.

With --mutants, the subjects are not faults but the mutants of the models that were killed in that file, each in its own
process: no pass was written with these mutants in mind.

--groups compares versions of the minimizer. For each file that --json has written (the JSON of faults and of mutants,
one after the other) it prints a row for each group of subjects. Faults are in two halves, by a digest of their names: a
pass is chosen by its effect on one half, and judged by its effect on the other. "short" counts inputs that reach the
shortest known length, from the files or, for the reason of the fault's shortest story, from the fault.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bench.forms import interpreted
from bench.inputs import failing_inputs, minimized_under, other_headers, reason_of
from bench.mutants.one import KILLED
from bench.mutants.runs import load
from shootdown.minimize import Minimized, length
from shootdown.mm.world import FlushStrategy
from shootdown.optimized.policies import REGISTRY
from shootdown.scenario import Scenario, render

TUNED: Final = "faults-tuned"
HELD_OUT: Final = "faults-held-out"
MUTANTS: Final = "mutants"


class Row(NamedTuple):
    """The results for the inputs of one subject, a fault or a mutant, and one reason."""

    subject: str
    group: str
    reason: str
    runs: list[int]
    """One for each input."""
    lengths: list[int]
    """One for the minimum of each input."""
    spent: int
    loose: int
    texts: list[str]
    """The forms, the most frequent first."""


def group_of(fault: str) -> str:
    """Return the half to which a fault belongs."""
    return HELD_OUT if hashlib.sha256(fault.encode()).digest()[-1] % 2 else TUNED


def rows_of(
    subject: str,
    group: str,
    strategy: FlushStrategy,
    inputs: Iterable[Scenario],
    budget: int,
) -> Iterator[Row]:
    """Minimize failing inputs of a subject, and yield a row for each reason."""
    by_reason: dict[str, list[Minimized]] = {}
    for scenario in inputs:
        reason, result = minimized_under(strategy, scenario, budget)
        by_reason.setdefault(reason, []).append(result)
    for reason, results in sorted(by_reason.items()):
        forms = Counter(result.scenario for result in results)
        yield Row(
            subject,
            group,
            reason,
            [result.runs for result in results],
            [length(result.scenario) for result in results],
            sum(not result.complete for result in results),
            sum(_loose(form, strategy, reason) * count for form, count in forms.items()),
            [render(form) for form, _ in forms.most_common()],
        )


def _loose(form: Scenario, strategy: FlushStrategy, reason: str) -> bool:
    """Return whether an operation of the form can be dropped."""
    records = form.records
    return any(
        reason_of(strategy, Scenario(form.header, records[:at] + records[at + 1 :])) == reason
        for at in range(len(records))
    )


def of_faults(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of seeded faults."""
    for name in options.faults.split(","):
        inputs = failing_inputs(name, options.inputs, options.seed)
        if options.headers:
            inputs += [each for scenario in inputs for each in other_headers(name, scenario)]
        yield from rows_of(name, group_of(name), REGISTRY[name].make(), inputs, options.budget)


def of_mutants(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of the mutants that were killed in a file."""
    wanted = [f"--inputs={options.inputs}", f"--budget={options.budget}", f"--seed={options.seed}"]
    for result in load(options.mutants):
        if result["verdict"] == KILLED:
            command = [sys.executable, "-m", "bench.mutants.minima"]
            command += [str(result["mutant"]), str(result["scenario"]), *wanted]
            done = subprocess.run(
                command, env=interpreted(), capture_output=True, text=True, check=False
            )
            if done.returncode:
                # A later edit of the sources has removed the mutant, or it shows nothing any more.
                print(f"{result['mutant']}: {done.stderr.splitlines()[-1]}", file=sys.stderr)
                continue
            yield from (Row(**row) for row in json.loads(done.stdout))


TITLES: Final = (
    f"{'subject':49}{'reason':26}{'inputs':>6}{'forms':>6}{'median':>7}{'max':>5}"
    f"{'spent':>6}{'loose':>6}{'length':>7}"
)


def told(row: Row) -> str:
    """Return a row of the table."""
    return (
        f"{row.subject[:48]:49}{row.reason:26}{len(row.runs):>6}{len(row.texts):>6}{statistics.median(row.runs):>7.0f}"
        f"{max(row.runs):>5}{row.spent:>6}{row.loose:>6}{max(row.lengths):>7}"
    )


def groups(files: dict[str, list[Row]]) -> Iterator[str]:
    """Yield a line of Markdown for each group of subjects in each file's rows."""
    shortest: dict[tuple[str, str], int] = {}
    for row in [row for rows in files.values() for row in rows]:
        key = (row.subject, row.reason)
        shortest[key] = min(*row.lengths, shortest.get(key, row.lengths[0]))
    yield "| group | version | reasons | inputs | forms | length | short | median | max | spent | loose |"
    yield "| --- | --- |" + " ---: |" * 9
    for group in (TUNED, HELD_OUT, MUTANTS):
        for version, rows in files.items():
            mine = [row for row in rows if row.group == group]
            if not mine:
                continue
            runs = [each for row in mine for each in row.runs]
            lengths = [
                (each, shortest[row.subject, row.reason]) for row in mine for each in row.lengths
            ]
            cells = (
                len(mine),
                len(runs),
                sum(len(row.texts) for row in mine),
                sum(each for each, _ in lengths),
                sum(each <= least for each, least in lengths),
                statistics.median(runs),
                max(runs),
                sum(row.spent for row in mine),
                sum(row.loose for row in mine),
            )
            yield f"| {group} | {version} | " + " | ".join(f"{cell:g}" for cell in cells) + " |"


def _read(path: Path) -> list[Row]:
    """Return the rows of a file that may hold several JSON texts, one after the other."""
    text, rows, decoder = path.read_text().strip(), [], json.JSONDecoder()
    while text:
        found, end = decoder.raw_decode(text)
        rows += [Row(**row) for row in found]
        text = text[end:].strip()
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=30)
    parser.add_argument("--budget", type=int, default=400)
    parser.add_argument("--faults", default=",".join(n for n, p in REGISTRY.items() if p.fault))
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--headers", action="store_true")
    parser.add_argument("--mutants", type=Path)
    parser.add_argument("--groups", type=Path, nargs="+")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.groups:
        print("\n".join(groups({path.stem: _read(path) for path in options.groups})))
        return
    for name in options.faults.split(","):
        if name not in REGISTRY or REGISTRY[name].fault is None:
            parser.error(f"{name} is not a seeded fault")
    source: Callable[[argparse.Namespace], Iterator[Row]] = (
        of_mutants if options.mutants else of_faults
    )
    rows: list[Row] = []
    if not options.json:
        print(TITLES)
    for row in source(options):
        rows.append(row)
        if not options.json:
            print(told(row), flush=True)
    if options.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))


if __name__ == "__main__":
    main()
