"""The command line: run the mutants, check the unmutated models, print the table, show one mutant."""

import argparse
import ast
import difflib
from pathlib import Path

from bench.mutants.control import control
from bench.mutants.judged import judgements
from bench.mutants.mutant import Mutant, mutants_in, mutated, selected
from bench.mutants.report import compared, report
from bench.mutants.runs import load, run

_ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Do what the first argument says."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutants")
    parser.add_argument("what", choices=["run", "check", "report", "show"])
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=25.0, help="CPU seconds of one mutant")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--again", type=Path, help="the mutants of this file, not a selection")
    parser.add_argument("--before", type=Path, help="an earlier file, for a comparison")
    parser.add_argument("--out", type=Path, default=Path("bench/results/mutants.jsonl"))
    options = parser.parse_args()
    results = [result for result in load(options.out) if options.only in str(result["mutant"])]
    if options.what == "run":
        mutants = mutants_in(_ROOT)
        if options.again:
            names = {str(result["mutant"]) for result in load(options.again)}
            chosen = [mutant for mutant in mutants if mutant.name in names]
        else:
            chosen = selected(mutants, options.count, options.seed)
        names_in_order = [mutant.name for mutant in chosen if options.only in mutant.name]
        run(names_in_order, options.seconds, options.seed, options.jobs, options.out)
    elif options.what == "check":
        complaints = list(control(results))
        print("\n".join([*complaints, f"{len(results)} mutants, {len(complaints)} complaints"]))
        raise SystemExit(bool(complaints))
    elif options.what == "report":
        print(report(results, judgements()))
        if options.before:
            print("\n" + compared(load(options.before), results))
    else:
        for mutant in mutants_in(_ROOT):
            if options.only in mutant.name:
                print("\n".join(_shown(mutant)))


def _shown(mutant: Mutant) -> list[str]:
    """Return what the mutant changes, as a diff of the source without its comments."""
    source = (_ROOT / mutant.file).read_text()
    before = ast.unparse(ast.parse(source)).splitlines()
    after = ast.unparse(mutated(mutant.file, source, mutant.name)).splitlines()
    return [mutant.name, *list(difflib.unified_diff(before, after, n=3, lineterm=""))[2:], ""]


if __name__ == "__main__":
    main()
