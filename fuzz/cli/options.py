"""Options and output that several commands share."""

import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fuzz.scenario import ParsedScenario, ScenarioError, decode, parse

DEFAULT_DB: Final = "findings.db"
PIPE_WIDTH: Final = 10_000
"""Characters in a line of a table that no terminal shows: no row is broken."""
MANY_COLUMNS: Final = 9
LONGEST_BINARY: Final = 1 << 16
BINARY_SUFFIX: Final = ".bin"

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?[smh])+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smh])")

db_option = click.option(
    "--db",
    default=DEFAULT_DB,
    show_default=True,
    metavar="FILE",
    help="The findings database.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


class Duration(click.ParamType[float]):
    """A time such as 60s, 10m, 1h30m, or a plain number of seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        text = str(value)
        if text.isdecimal():
            text += "s"
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        if not _DURATION.fullmatch(text) or not seconds:
            self.fail(f"{value!r} is not a time such as 60s, 10m or 1h30m.", param, ctx)
        return seconds


def replay_command(target: str, *, policy: str = "", db: str = DEFAULT_DB) -> str:
    """Return the literal command that shows a finding or a file again; what is the default is left out."""
    words = ["shootdown", "replay", target]
    if policy:
        words += ["--policy", policy]
    if db != DEFAULT_DB:
        words += ["--db", db]
    return shlex.join(words)


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under bold headings: fitted to a terminal, and one line a row anywhere else.

    A table with more columns than a terminal can show is turned: one line for each field.
    """
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    cells = [[_cell(value) for value in row] for row in rows]
    table = _grid()
    for i, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    if len(columns) > MANY_COLUMNS and _width(console, table) > console.width:
        table = _grid()
        table.show_header = False
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for row in cells:
            for column, cell in zip(columns, row, strict=True):
                table.add_row(column, Text(cell))
            table.add_row()
    with console.capture() as printed:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


def _width(console: Console, table: Table) -> int:
    unlimited = console.options.update(width=PIPE_WIDTH)
    return Measurement.get(console, unlimited, table).maximum


def _grid() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def readable(path: str) -> bytes:
    """Return the content of a file that the user named; one sentence and exit code 2 when it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}.") from None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def read_scenario(path: str) -> ParsedScenario:
    """Return the scenario in a file: its text form, or a fuzzer's input if the name ends in `.bin`.

    One sentence and exit code 2 when the text is broken. Every byte string is a fuzzer's input, so nothing else than
    the name may decide: a text in another encoding would be run as something that its author never wrote.
    """
    data = readable(path)
    if path.endswith(BINARY_SUFFIX):
        if len(data) > LONGEST_BINARY:
            raise click.ClickException(
                f"{path} is no scenario: it has {len(data):,} bytes, and no fuzzer's input has more than"
                f" {LONGEST_BINARY:,}."
            )
        return ParsedScenario(decode(data))
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise click.ClickException(
            f"{path} is no scenario: it is not UTF-8 text, and the name of a fuzzer's binary input ends in"
            f" {BINARY_SUFFIX}."
        ) from None
    except ScenarioError as error:
        raise click.ClickException(f"{path}, {error}.") from None
