"""The command `shootdown`, as the tests run it: the installed one, or this process if that shows the same."""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shootdown import form
from shootdown.cli.main import run

SHOOTDOWN = Path(sys.executable).with_name("shootdown")
CORPUS = Path(__file__).resolve().parent.parent / "corpus"

NX = """shootdown-scenario 1
cpus 1
pages 1
layout private

cpu0 read p0
cpu0 mprotect p0 rx
cpu0 exec p0
"""
"""A scenario in which the policy v1 delivers a SIGSEGV that it must not deliver."""


class Ended(NamedTuple):
    """How a command ended, and what it wrote, without the advice to compile the models."""

    code: int
    out: str
    err: str


def without_advice(err: str) -> str:
    """Return what long work writes to standard error, without what depends on the form of the models."""
    advice = form.advice()
    return err.removeprefix(f"{advice}\n") if advice else err


def shootdown(folder: Path, *arguments: str | Path) -> Ended:
    """Run the installed command in a folder, where its temporary files stay too."""
    return through((), folder, *arguments)


def through(wrapper: Sequence[str], folder: Path, *arguments: str | Path) -> Ended:
    """Run the command `wrapper`, which gets the same command as its last arguments."""
    result = subprocess.run(
        [*wrapper, SHOOTDOWN, *arguments],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return Ended(result.returncode, result.stdout, without_advice(result.stderr))


def inside(folder: Path, *arguments: str | Path) -> Ended:
    """Run the same function as the installed command in this process, in a folder."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run([str(argument) for argument in arguments])
    return Ended(code, out.getvalue(), without_advice(err.getvalue()))


def wait_until(happened: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; if it never holds, the time limit of the test ends the wait."""
    while not happened():
        time.sleep(0.05)


def group_is_gone(group: int) -> bool:
    """Return whether no process of that process group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def complaint(folder: Path, *arguments: str | Path) -> str:
    """Return the one line on standard error of a command that ends with 2 and writes nothing else."""
    ended = inside(folder, *arguments)
    assert (ended.code, ended.out) == (2, ""), ended
    (line,) = ended.err.splitlines()
    return line


def document(folder: Path, *arguments: str | Path, code: int = 0) -> Any:  # noqa: ANN401 (any JSON)
    """Return what a command prints as JSON."""
    ended = inside(folder, *arguments, "--json")
    assert ended.code == code, ended
    return json.loads(ended.out)
