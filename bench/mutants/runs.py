"""Runs of many mutants, each in its own process, and the file of their results.

A result is one JSON object per line. A mutant with a result in the file does not run again, so a run can be
interrupted.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

from bench.forms import interpreted
from bench.mutants.one import CRASHED, LEGAL, Result

FIRST = 2.0
"""CPU seconds of the first pass: if a mutant shows nothing in this time, it usually never does."""

_PATIENCE = 8
"""A process may take this many times its CPU seconds plus half a minute, because the machine may have other work."""


def load(path: Path) -> list[Result]:
    """Return the results in a file, the last one of each mutant; none when there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    results = [json.loads(line) for line in lines]
    return list({result["mutant"]: result for result in results}.values())


def one(name: str, seconds: float, seed: int) -> Result:
    """Run one mutant; if its process dies or does not end, the mutant has crashed."""
    command = [sys.executable, "-m", "bench.mutants.one", name]
    command += [f"--seconds={seconds}", f"--seed={seed}"]
    try:
        done = subprocess.run(
            command,
            env=interpreted(),
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE * seconds + 30,
        )
        result: Result = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return _died(name, "no end", seconds, seed)
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
        return _died(name, f"exit status {error.returncode}", seconds, seed)
    return result


def _died(name: str, reason: str, seconds: float, seed: int) -> Result:
    return {
        "mutant": name,
        "verdict": CRASHED,
        "rule": "",
        "reason": reason,
        "executions": 0,
        "undecided": 0,
        "seconds": seconds,
        "limit": seconds,
        "seed": seed,
        "scenario": "",
    }


def run(names: Iterable[str], seconds: float, seed: int, jobs: int, out: Path) -> None:
    """Run every mutant that the file does not have yet: first all for a short time, then those that stay legal for the
    full time.

    The inputs are the same, so a mutant that is found in the first pass would also be found in the second.
    """
    wanted = list(names)
    out.parent.mkdir(parents=True, exist_ok=True)
    for limit in (min(FIRST, seconds), seconds):
        done = {str(result["mutant"]) for result in load(out) if _is_final(result, limit)}
        todo = [name for name in wanted if name not in done]
        with ThreadPoolExecutor(jobs) as pool, out.open("a") as file:
            results = pool.map(one, todo, repeat(limit), repeat(seed))
            for at, result in enumerate(results, 1):
                file.write(json.dumps(result) + "\n")
                file.flush()
                told = f"{result['verdict']} {result['rule']} {result['reason']}".strip()
                print(f"{at}/{len(todo)} {result['mutant']}: {told}, {limit:.0f} s", flush=True)


def _is_final(result: Result, limit: float) -> bool:
    return result["verdict"] != LEGAL or float(str(result["limit"])) >= limit
