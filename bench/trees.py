"""A benchmark's measurement in a process of its own, on the interpreted models and on the compiled ones."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Measured = dict[str, Any]
_ROOT = Path(__file__).resolve().parents[1]


def in_both_trees(module: str, arguments: Sequence[str]) -> tuple[Measured, Measured]:
    """Return the JSON object that `python -m MODULE ARGUMENTS` prints on the interpreted and on the compiled models.

    The object has a key "compiled". Exits with 2 when there is no compiled tree.
    """
    if not (_ROOT / ".compiled").is_dir():
        print("There is no compiled tree; `make compile` makes it.", file=sys.stderr)
        raise SystemExit(2)
    interpreted = _in_tree(module, str(_ROOT), arguments)
    return interpreted, _in_tree(module, f"{_ROOT / '.compiled'}{os.pathsep}{_ROOT}", arguments)


def _in_tree(module: str, path: str, arguments: Sequence[str]) -> Measured:
    # -P: the working directory would come before the compiled tree.
    command = [sys.executable, "-P", "-m", module, *arguments]
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: Measured = json.loads(done.stdout)
    return result
