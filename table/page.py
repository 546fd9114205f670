"""The table as a page for a browser: one file that needs nothing else."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Final

from shootdown.optimized.policy import Policy
from shootdown.table.rows import MISSING, WASTED, Cell, Row
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

_STYLE: Final = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #24292f; margin: 2rem auto; max-width: 72rem; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; }
p { max-width: 46rem; margin: .4rem 0; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { text-align: left; padding: .22rem .5rem; border-bottom: 1px solid #e6e8eb; vertical-align: top; }
thead th { position: sticky; top: 0; background: #fff; border-bottom: 2px solid #c9ced4; font-weight: 600; }
th:first-child { width: 19rem; }
tbody th { font-weight: 400; }
.context { color: #57606a; }
.done { color: #57606a; }
.skipped { color: #8c959f; }
.wasted { background: #fff6dc; }
.missing { background: #ffe1de; font-weight: 600; }
.missing a { color: #a40e26; }
.key span { display: inline-block; padding: 0 .5rem; min-width: 4rem; }
sup { color: #7a5b00; font-size: .75em; margin-left: .15em; }
ol li { margin: .6rem 0; max-width: 60rem; }
ol li:target { background: #ffe1de; }
code { font-size: .92em; }
"""


def page_of(rows: Sequence[Row], policies: Sequence[Policy]) -> str:
    """Return the page: a table for each size and group, and below them the counterexample of each missing cell."""
    names = [policy.name for policy in policies]
    found: list[str] = []
    tables = []
    for (_, group), members in groupby(rows, key=lambda row: (row.huge, row.group)):
        some = list(members)
        body = "\n".join(_row(row, names, found) for row in some)
        heads = "".join(f"<th>{escape(name)}</th>" for name in names)
        tables.append(
            f"<h2>{size_of(some[0])}: {escape(group)}</h2>\n<table><thead><tr><th>change</th>"
            f"<th>needed</th>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
        )
    missing = ["<ol>", *found, "</ol>"] if found else ["<p>No flush is missing.</p>"]
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Which changes need a flush</title>\n<style>{_STYLE}</style></head>"
    )
    title = "<h1>Which changes of an entry need a TLB flush, and which rule flushes</h1>"
    parts = [
        head,
        "<body>",
        title,
        _key(rows, policies),
        *tables,
        "<h2>Missing flushes</h2>",
        *missing,
    ]
    return "\n".join([*parts, "</body></html>", ""])


def _key(rows: Sequence[Row], policies: Sequence[Policy]) -> str:
    verdicts = [
        f'<span class="{verdict}">{verdict}</span> {escape(words)}<br>'
        for verdict, words in VERDICTS.items()
    ]
    gains = [f"<sup>{mark}</sup> {escape(words)}" for mark, words in GAINS.values()]
    return (
        f'<p class="key">{"".join(verdicts)}</p>\n'
        f"<p>What a wasted flush gains: {'; '.join(gains)}. A wasted flush without a mark gains nothing.</p>\n"
        f"<p>The marks behind a yes or no:<br>{'<br>'.join(map(escape, REMARKS))}</p>\n"
        f"<p>Judged under the page-fault handler<br>{'<br>'.join(map(escape, handlers_of(policies)))}</p>\n"
        f"<p>{'<br>'.join(map(escape, notes_of(rows)))}</p>"
    )


def _row(row: Row, names: Sequence[str], found: list[str]) -> str:
    """Return a row; append the counterexamples of its missing cells to `found`."""
    context = f' <span class="context">{escape(row.context)}</span>' if row.context else ""
    note = f' title="{escape(row.note)}"' if row.note else ""
    cells = []
    for name, cell in zip(names, row.cells, strict=True):
        if cell.verdict == MISSING:
            found.append(_counterexample(row, cell, name, len(found) + 1))
        cells.append(_cell(cell, len(found)))
    return (
        f"<tr><th{note}>{escape(row.name)}{context}</th><td>{need_words(row)}</td>"
        f"{''.join(cells)}</tr>"
    )


def _cell(cell: Cell, number: int) -> str:
    words = cell.verdict
    if cell.verdict == MISSING:
        words = f'<a href="#missing-{number}">{words} {number}</a>'
    gains = gains_of(cell)
    marks = "".join(f"<sup>{GAINS[gain][0]}</sup>" for gain in gains)
    gained = "; ".join(GAINS[gain][1] for gain in gains) or "nothing"
    title = f' title="A flush gains: {escape(gained)}."' if cell.verdict == WASTED else ""
    return f'<td class="{cell.verdict}"{title}>{words}{marks}</td>'


def _counterexample(row: Row, cell: Cell, name: str, number: int) -> str:
    told = f"<code>{escape(story_of(cell, huge=row.huge))}</code>"
    note = f"<br>Note: {escape(row.note)}." if row.note else ""
    stories = f"<br>In the corpus: {escape(', '.join(cell.stories))}" if cell.stories else ""
    heading = f"{escape(name)}, {size_of(row)}, {escape(row.label)}"
    return f'<li id="missing-{number}">{heading}<br>{told}{note}{stories}</li>'
