"""One mutant, in its own process: random inputs until something illegal, a crash, or a limit of CPU seconds.

    python -m bench.mutants.one NAME [--seconds 25] [--seed 1]

The command prints one JSON object.
"""

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import json
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from random import Random
from types import FrameType, ModuleType
from typing import Final

from bench.mutants.mutant import draw, module_of, mutated
from shootdown import form

UNMUTATED: Final = "unmutated"
"""In place of a name: the unmutated models."""
POLICY: Final = "linux"
LEGAL: Final = "legal"
KILLED: Final = "killed"
CRASHED: Final = "crashed"
RECORDS: Final = 32
NO_END: Final = "step-limit"
"""The most steps of a run; a longer one has no verdict. The unmutated models need a tenth of the steps."""
_LONGEST_RUN: Final = 5.0
"""CPU seconds after which one execution counts as hung; normally it takes about a millisecond."""
_MEMORY: Final = 2 << 30
Result = dict[str, object]


class HangError(Exception):
    """One execution does not end."""


class Substitute(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a syntax tree instead of its file."""

    def __init__(self, module: str, path: Path, tree: ast.Module) -> None:
        self.module = module
        self.path = path
        self.tree = tree

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the origin of the module; None for any other module."""
        if fullname != self.module:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(self.path))

    def exec_module(self, module: ModuleType) -> None:
        """Run the tree as the module's code."""
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)  # noqa: S102 - loads a module


def install(name: str, root: Path) -> None:
    """Make the models of this process the mutant's; call this before the changed module is imported."""
    file = name.split(":", maxsplit=1)[0]
    module = module_of(file)
    if module in sys.modules or form.is_compiled():
        message = f"{module} is imported already, or compiled: {form.VARIABLE}=1 runs the sources"
        raise RuntimeError(message)
    path = root / file
    sys.meta_path.insert(0, Substitute(module, path, mutated(file, path.read_text(), name)))


def hunt(name: str, seconds: float, seed: int) -> Result:
    """Run random inputs against the models of this process, and return what they showed.

    The mutant's name and the seed determine the inputs.
    """
    start = time.process_time()
    executions = undecided = 0
    verdict, rule, reason, data = LEGAL, "", "", b""
    signal.signal(signal.SIGVTALRM, _hang)
    try:
        # Imported here, because a mutated module may fail when it is loaded.
        from shootdown.fuzz.inputs.generate import random_scenario  # noqa: PLC0415
        from shootdown.optimized.policies import REGISTRY  # noqa: PLC0415
        from shootdown.run.execute import execute  # noqa: PLC0415
        from shootdown.scenario import encode  # noqa: PLC0415
        from shootdown.scenario.verdict import ILLEGAL, UNDECIDED  # noqa: PLC0415

        rng = Random(int(draw(name, seed)[:16], 16))
        strategy = REGISTRY[POLICY].make()
        start = time.process_time()
        while time.process_time() - start < seconds:
            scenario = random_scenario(rng, RECORDS)
            data = encode(scenario)
            executions += 1
            signal.setitimer(signal.ITIMER_VIRTUAL, _LONGEST_RUN)
            outcome = execute(scenario, strategy)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            undecided += outcome.verdict == UNDECIDED
            if outcome.verdict == ILLEGAL:
                verdict, rule, reason = KILLED, outcome.rule, outcome.reason
                break
            if outcome.reason == NO_END:
                verdict, reason = CRASHED, NO_END
                break
    except Exception as error:  # noqa: BLE001 - whatever a mutant raises is its crash
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        verdict, reason = CRASHED, f"{type(error).__name__}: {_place(error)}"
    found = verdict != LEGAL
    return {
        "mutant": name,
        "verdict": verdict,
        "rule": rule,
        "reason": reason,
        "executions": executions,
        "undecided": undecided,
        "seconds": round(time.process_time() - start, 2),
        "limit": seconds,
        "seed": seed,
        "scenario": data.hex() if found else "",
    }


def _hang(_signal: int, _frame: FrameType | None) -> None:
    raise HangError


def _place(error: Exception) -> str:
    """Return the function in which the models failed."""
    frames = traceback.extract_tb(error.__traceback__)
    return frames[-1].name if frames else ""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mutant")
    parser.add_argument("--seconds", type=float, default=25.0, help="CPU seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    if options.mutant != UNMUTATED:
        install(options.mutant, Path(__file__).resolve().parents[2])
    print(json.dumps(hunt(options.mutant, options.seconds, options.seed)))


if __name__ == "__main__":
    main()
