"""Runs of engines against seeded faults, each in its own process, and the file of their results.

A run is one JSON object per line. A run in the file is not repeated, so a bench can be interrupted.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

Run = dict[str, object]


def load(path: Path) -> list[Run]:
    """Return the runs in a results file; none when there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def hunt(engine: str, fault: str, seed: int, limit: float, *more: str) -> Run:
    """Carry out one run in its own process."""
    command = [
        sys.executable,
        "-m",
        "bench.hunt",
        engine,
        fault,
        str(seed),
        f"--limit={limit}",
        *more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: Run = json.loads(done.stdout.splitlines()[-1])
    result["limit"] = limit
    return result


def run(
    engines: list[str],
    faults: list[str],
    seeds: int,
    limit: float,
    jobs: int,
    out: Path,
    *more: str,
) -> None:
    """Carry out every run that the file does not have yet."""
    seeded = "--no-corpus" not in more
    done = {
        (str(r["engine"]), str(r["fault"]), int(str(r["seed"])))
        for r in load(out)
        if r.get("seeded", True) == seeded
    }
    todo = [
        (engine, fault, seed)
        for seed in range(1, seeds + 1)
        for fault in faults
        for engine in engines
        if (engine, fault, seed) not in done
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool, out.open("a") as file:
        for result in pool.map(lambda job: hunt(job[0], job[1], job[2], limit, *more), todo):
            file.write(json.dumps(result) + "\n")
            file.flush()
            print(json.dumps(result), flush=True)


def command(
    document: str | None,
    names: Sequence[str],
    limit: float,
    out: Path,
    table: Callable[[list[Run]], str],
    *more: str,
    engines: str = "atheris,random,coverage",
) -> None:
    """Carry out missing runs, or print the table: the command line of a bench over faults, with its defaults."""
    parser = argparse.ArgumentParser(description=(document or "").splitlines()[0])
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--engines", default=engines)
    parser.add_argument("--faults", default=",".join(names))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--limit", type=float, default=limit, help="CPU seconds of one run")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-corpus", action="store_true", help="begin with no scenario at all")
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args()
    if options.what == "run":
        run(
            options.engines.split(","),
            options.faults.split(","),
            options.seeds,
            options.limit,
            options.jobs,
            options.out,
            *more,
            *(["--no-corpus"] if options.no_corpus else []),
        )
    print(table(load(options.out)))
