"""`shootdown conform --machine qemu`: the machine beside QEMU's MMU."""

import shlex
import sys
import textwrap
from collections.abc import Callable
from typing import Final

import click

from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK
from shootdown.cli.options import counted
from shootdown.cli.output import WIDTH, print_json
from shootdown.conform.qemu.campaign import Disagreement, Result, run
from shootdown.conform.qemu.known import DROPS, REPAIRED, Known

SHOWN: Final = 5
"""Disagreements that are shown in full."""
_LINE_SECONDS: Final = 5.0


def conform_qemu(
    *,
    seconds: float | None,
    sequences: int | None,
    seed: int,
    mode: str,
    as_json: bool,
    store: Callable[[Disagreement | Result], object],
    stop: Callable[[], bool] = lambda: False,
    quiet: bool = False,
    first: int = 0,
) -> int:
    """Compare until a limit or `stop`, print the report, and return the exit code.

    `mode`: "exact", "may-drop" or "both".
    `first`: the number of the first sequence of the seed; `first` + 1, ... follow.
    `store`: it is called with each disagreement when it is found, and at the end with the result.
    Errors: Unusable, before anything is printed, when there is no unicorn; MmuError.
    """
    stream = sys.stderr if as_json else sys.stdout
    comparison = run(seed, seconds=seconds, sequences=sequences, mode=mode, first=first)
    stored = 0
    line_at = _LINE_SECONDS
    while True:
        try:
            result = next(comparison)
        except StopIteration as end:
            result = end.value
            break
        for found in result.disagreements[stored:]:
            store(found)
            if not quiet:
                click.echo(f"disagreement: {found.what} of {found.event}", file=stream)
        stored = len(result.disagreements)
        if result.seconds >= line_at and not quiet:
            line_at = result.seconds + _LINE_SECONDS
            click.echo(_progress(result), file=stream)
        if stop():
            break
    for found in result.disagreements[stored:]:
        store(found)
    store(result)
    if as_json:
        print_json(result.document())
    else:
        click.echo("\n".join(closing(result)))
    return ILLEGAL_FOUND if result.disagreements else OK


def _progress(result: Result) -> str:
    return (
        f"{result.seconds:.0f} s: {result.sequences:,} sequences, {result.events:,} events,"
        f" {result.accesses:,} accesses, {counted(len(result.disagreements), 'disagreement')}"
    )


def closing(result: Result) -> list[str]:
    """Return the lines that end a comparison, for people."""
    lines = [
        "",
        f"QEMU's MMU beside the machine, mode {result.mode}, seed {result.seed}:",
        (
            f"{counted(result.sequences, 'sequence')}, {result.events:,} events, {result.accesses:,} accesses"
            f" in {result.seconds:.1f} s."
        ),
    ]
    if result.explained:
        lines.append("Accesses that agree because QEMU may do so:")
    for name, known in DROPS.items():
        if result.explained[name]:
            lines.append(_item(f"{name}, {result.explained[name]:,}: {_says(known)}"))
    lines.append(
        "Where QEMU does less than the manual demands; the comparison makes up for it first:"
    )
    lines += [
        _item(f"{name}: {_says(known)}") for name, known in REPAIRED.items() if not known.permitted
    ]
    if not result.disagreements:
        done = "No disagreement." if result.accesses else "Nothing was compared."
        return [*lines, done]
    lines.append(f"{counted(len(result.disagreements), 'disagreement')} that nothing explains.")
    for found in result.disagreements[:SHOWN]:
        lines += ["", *_found(found, result.mode)]
    return lines


def again(found: Disagreement, mode: str) -> str:
    """Return the literal command that finds a disagreement again."""
    words = ["shootdown", "conform", "--machine", "qemu", "--mode", mode]
    words += ["--seed", str(found.seed), "--first", str(found.sequence), "--sequences", "1"]
    return shlex.join(words)


def _found(found: Disagreement, mode: str) -> list[str]:
    return [
        f"Disagreement: {found.what}, of the last event of",
        *(f"  {line}" for line in found.case.splitlines()),
        f"  machine: {found.machine}",
        f"  QEMU:    {found.qemu}",
        f"Again: {again(found, mode)}",
    ]


def _says(known: Known) -> str:
    return f"{known.does}; {known.manual}."


def _item(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
