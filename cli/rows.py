"""The rows of a query, of any length: a table, or as they come."""

import sys
from collections.abc import Sequence
from itertools import chain, islice
from typing import Final

import click

from shootdown.cli.output import cell_text, print_table
from shootdown.store import RowStream, jsonable, write_json_items

TABLE_ROWS: Final = 1000
"""The most rows that are laid out as a table: its columns fit all rows, so all must be there before the first is
printed.
"""

_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def print_rows(stream: RowStream, *, as_json: bool) -> None:
    """Print the rows of a query as a table; if there are more than TABLE_ROWS, print each as it arrives, with tabs
    between values.
    """
    if as_json:
        documents = (jsonable(dict(zip(stream.columns, row, strict=True))) for row in stream.rows)
        write_json_items(documents, sys.stdout)
        return
    first = list(islice(stream.rows, TABLE_ROWS + 1))
    if not first:
        click.echo("No rows.")
    elif len(first) <= TABLE_ROWS:
        print_table(stream.columns, first)
    else:
        sys.stdout.writelines(map(_line, chain([stream.columns], first, stream.rows)))


def _line(row: Sequence[object]) -> str:
    """Return a row as one line, whatever its values contain."""
    return "\t".join(cell_text(value).translate(_ESCAPES) for value in row) + "\n"
