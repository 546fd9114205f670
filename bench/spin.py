"""The smallest scope of `shootdown prove`, compared with the same scope as a Promela model that Spin verifies.

    make compile && python -m bench.spin [--ops 2]

Both tools say whether there is an illegal outcome, and by which rule, from one operation upwards, and how many states
they stored and generated. Rates are generated states per CPU second of one process. Spin explores without the
reductions of prove, and judges with its own history (bench/promela/mprotect.pml). The exit code is 1 when two verdicts
differ, and 2 when spin or gcc is not installed.
"""

import argparse
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from shootdown.form import is_compiled
from shootdown.optimized.policies import REGISTRY
from shootdown.prove.scope import scope_of
from shootdown.prove.search import Illegal, Search
from shootdown.prove.visited import Visited
from shootdown.scenario.record import Header
from shootdown.scenario.verdict import REASONS

MODEL = Path(__file__).with_name("promela") / "mprotect.pml"
POLICIES = ("always", "v1", "linux", "skip-write-protect")
OPERATIONS = ("read", "write", "exec", "mprotect")
"""The operations of the model."""
LIMITS = ("-m100000", "-w20")
"""Limits of Spin: the moves of the longest path, and the size of the hash table."""
SLOTS = 1 << 22


class Verdict(NamedTuple):
    """How a verification ended, and what it cost in its last level."""

    rule: str
    """The rule that is broken, "" when none is."""
    operations: int
    stored: int
    generated: int
    seconds: float

    @property
    def words(self) -> str:
        """Return the verdict in words."""
        if not self.rule:
            return f"legal with {self.operations}"
        return f"illegal ({self.rule}) with {self.operations}"

    @property
    def figures(self) -> str:
        """Return the figures in columns."""
        rate = self.generated / self.seconds if self.seconds else 0
        return f"{self.stored:>11,}{self.generated:>12,}{rate:>14,.0f}"


def by_prove(policy: str, ops: int) -> Verdict:
    """Return the verdict of prove in this process."""
    visited = Visited(SLOTS)
    scope = scope_of(Header(2, 1, asids=1, batch=1), ops, OPERATIONS)
    search = Search(scope, REGISTRY[policy].make(), visited)
    start = time.process_time()
    rule, level = "", 0
    try:
        paths = search.begin()
        for level in range(1, ops + 1):
            paths = search.expand(paths, last=level == ops)
    except Illegal as illegal:
        rule = REASONS[illegal.reason][0]
    seconds = time.process_time() - start
    visited.close()
    return Verdict(rule, level, search.worlds, search.transitions, seconds)


def by_spin(policy: str, ops: int) -> Verdict:
    """Return the verdict of Spin for the smallest number of operations with which something is illegal, or else for
    `ops`.
    """
    for operations in range(1, ops):
        verdict = _verified(policy, operations)
        if verdict.rule:
            return verdict
    return _verified(policy, ops)


def _verified(policy: str, operations: int) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        name = policy.upper().replace("-", "_")
        _run(["spin", "-a", f"-D{name}", f"-DOPS={operations}", str(MODEL)], folder)
        _run(["gcc", "-O2", "-DSAFETY", "-o", "pan", "pan.c"], folder)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        report = _run(["./pan", *LIMITS], folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    broken = re.search(r"assertion violated \(+broken!=(\d)\)", report)
    errors = int(_found(r"errors: (\d+)", report))
    if "max search depth too small" in report:
        sys.exit(f"Spin did not explore everything that {policy} can do:\n{report}")
    if bool(errors) != bool(broken):
        sys.exit(f"Spin met an error that is no broken rule:\n{report}")
    return Verdict(
        f"C{broken[1]}" if broken else "",
        operations,
        int(_found(r"(\d+) states, stored", report)),
        int(_found(r"(\d+) transitions", report)),
        after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime,
    )


def _found(pattern: str, report: str) -> str:
    match = re.search(pattern, report)
    if not match:
        sys.exit(f"What Spin printed is not understood:\n{report}")
    return match[1]


def _run(command: list[str], folder: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def main() -> int:
    """Print both tools' verdicts side by side."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ops", type=int, default=2, help="operations at most")
    options = parser.parse_args()
    for tool in ("spin", "gcc"):
        if not shutil.which(tool):
            print(f"bench.spin needs {tool}; on Debian: apt-get install {tool}.", file=sys.stderr)
            return 2
    models = "compiled" if is_compiled() else "interpreted"
    print(
        f"2 CPUs, 1 page, up to {options.ops} operations of {', '.join(OPERATIONS)}; prove runs on the {models} models"
    )
    print(f"{'':28}{'verdict':26}{'stored':>11}{'generated':>12}{'a CPU second':>14}")
    agreed = True
    for policy in POLICIES:
        ours, theirs = by_prove(policy, options.ops), by_spin(policy, options.ops)
        print(f"{policy:20}prove   {ours.words:26}{ours.figures}")
        print(f"{'':20}Spin    {theirs.words:26}{theirs.figures}")
        agreed = agreed and ours[:2] == theirs[:2]
    print("The verdicts agree." if agreed else "The verdicts DIFFER.")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
