"""A benchmark's measurement in its own process, on the interpreted models and on the compiled ones."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from shootdown import form

Measured = dict[str, Any]


def interpreted() -> dict[str, str]:
    """Return the environment of a process whose models are the sources, even if compiled ones exist."""
    return os.environ | {form.VARIABLE: "1"}


def in_both_forms(module: str, arguments: Sequence[str]) -> tuple[Measured, Measured]:
    """Return the JSON objects that `python -m MODULE ARGUMENTS` prints on the interpreted and on the compiled models.

    Each object has a key "compiled". Without compiled models the process exits with 2.
    """
    if form.WHY_INTERPRETED:
        print(f"There are no compiled models: {form.WHY_INTERPRETED}.", file=sys.stderr)
        raise SystemExit(2)
    return _in_form(module, arguments, {form.VARIABLE: "1"}), _in_form(module, arguments, {})


def _in_form(module: str, arguments: Sequence[str], variables: dict[str, str]) -> Measured:
    command = [sys.executable, "-m", module, *arguments]
    environment = os.environ | variables
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: Measured = json.loads(done.stdout)
    return result
