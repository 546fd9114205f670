"""The command line: run the mutants, check the unmutated models, print the table."""

import argparse
from pathlib import Path

from bench.mutants.mutant import mutants_in, selected
from bench.mutants.runs import load, run

_ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Do what the first argument says."""
    parser = argparse.ArgumentParser(prog="python -m bench.mutants")
    parser.add_argument("what", choices=["run"])
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=25.0, help="CPU seconds of one mutant")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    options = parser.parse_args()
    chosen = selected(mutants_in(_ROOT), options.count, options.seed)
    names = [mutant.name for mutant in chosen if options.only in mutant.name]
    run(names, options.seconds, options.seed, options.jobs, options.out)


if __name__ == "__main__":
    main()
