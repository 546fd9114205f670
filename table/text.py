"""The table as text for a terminal."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from shootdown.optimized.policy import Policy
from shootdown.table.rows import MISSING, Cell, Row
from shootdown.table.words import (
    GAINS,
    REMARKS,
    VERDICTS,
    gains_of,
    handlers_of,
    need_words,
    notes_of,
    size_of,
    story_of,
)

_LABEL: Final = 32
_NEED: Final = 6
_CELL: Final = 9


def lines_of(rows: Sequence[Row], policies: Sequence[Policy], width: int) -> Iterator[str]:
    """Yield the lines of the table of these policies, none longer than `width` columns.

    All policies are side by side, or as many as fit.
    """
    names = [policy.name for policy in policies]
    for first, last in _blocks(names, width):
        columns = names[first:last]
        for (_, group), members in groupby(rows, key=lambda row: (row.huge, row.group)):
            some = list(members)
            yield _line([f"{size_of(some[0])}: {group}", "needed", *columns], columns)
            for row in some:
                *above, label = textwrap.wrap(row.label, _LABEL, subsequent_indent="  ")
                yield from above
                cells = [_words(cell) for cell in row.cells[first:last]]
                yield _line([label, need_words(row), *cells], columns)
            yield ""
    yield from _legend(width)
    yield from _paragraphs("Judged under the page-fault handler", handlers_of(policies), width)
    yield from _paragraphs("Notes", notes_of(rows), width)
    yield from _missing(rows, names, width)


def _blocks(names: Sequence[str], width: int) -> Iterator[tuple[int, int]]:
    """Yield which policies fit side by side, as ranges of their positions."""
    first = 0
    used = start = _LABEL + 1 + _NEED
    for last, name in enumerate(names):
        room = 1 + max(_CELL, len(name))
        if used + room > width and last > first:
            yield first, last
            first, used = last, start
        used += room
    yield first, len(names)


def _line(words: Sequence[str], names: Sequence[str]) -> str:
    """Return the words in their columns; a word may be empty."""
    widths = [_LABEL, _NEED, *(max(_CELL, len(name)) for name in names)]
    filled = [*words, *[""] * (len(widths) - len(words))]
    return " ".join(word.ljust(room) for word, room in zip(filled, widths, strict=True)).rstrip()


def _words(cell: Cell) -> str:
    if cell.verdict == MISSING:
        return cell.verdict.upper()
    marks = "".join(GAINS[gain][0] for gain in gains_of(cell))
    return f"{cell.verdict} {marks}".rstrip()


def _legend(width: int) -> Iterator[str]:
    yield "Cells"
    for verdict, words in VERDICTS.items():
        yield from _entry(verdict.upper() if verdict == MISSING else verdict, words, width)
    yield "A wasted flush gains"
    for mark, words in GAINS.values():
        yield from _entry(mark, words, width)
    yield "Needed"
    for remark in REMARKS:
        yield from textwrap.wrap(f"  {remark}", width, subsequent_indent="     ")


def _paragraphs(heading: str, words: Sequence[str], width: int) -> Iterator[str]:
    yield heading
    for paragraph in words:
        yield from textwrap.wrap(
            f"  {paragraph}", width, subsequent_indent="    ", break_on_hyphens=False
        )


def _entry(mark: str, words: str, width: int) -> list[str]:
    return textwrap.wrap(f"  {mark:9}{words}", width, subsequent_indent=" " * 11)


def _missing(rows: Sequence[Row], names: Sequence[str], width: int) -> Iterator[str]:
    """Yield the counterexample of each missing cell; policies with the same one share one line."""
    yield ""
    told: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        for name, cell in zip(names, row.cells, strict=True):
            if cell.verdict == MISSING:
                words = [f"{size_of(row)}, {row.label}", story_of(cell, huge=row.huge)]
                words += [f"In the corpus: {', '.join(cell.stories)}."] if cell.stories else []
                told.setdefault(tuple(words), []).append(name)
    yield "Missing" if told else "No flush is missing."
    for (what, *words), who in told.items():
        for line in (f"  {', '.join(who)}: {what}", *(f"    {word}" for word in words)):
            yield from textwrap.wrap(line, width, subsequent_indent="      ")
