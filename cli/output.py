"""What the commands print: JSON for programs, tables for people."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDTH: Final = 100
"""Columns of a paragraph."""
PIPE_WIDTH: Final = 10_000
"""Characters in a line of a table that no terminal shows: no row is broken."""
MANY_COLUMNS: Final = 9


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under bold headings: fitted to the width on a terminal, one line a row anywhere else.

    A table with more columns than a terminal can show is turned: one line for each field.
    """
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    cells = [[cell_text(value) for value in row] for row in rows]
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


def cell_text(value: object) -> str:
    """Return a value in the form in which a table shows it."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


@contextmanager
def output(path: str | None) -> Iterator[TextIO]:
    """Open the file that the user named, or standard output if none was named."""
    if path is None:
        yield sys.stdout
        return
    try:
        with Path(path).open("w", newline="", encoding="utf-8") as out:
            yield out
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}.") from None
