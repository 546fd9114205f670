"""Print how the machine agrees with published litmus tests; with `write`, put the table into the page.

python -m bench.published [write]

The command needs some seconds.
"""

import sys
from pathlib import Path

from bench.page import between
from shootdown.conform.litmus.report import load, markdown, rows

PAGE = Path(__file__).resolve().parent.parent / "docs" / "published-verdicts.md"
BEGIN = "<!-- bench-published: written by python -m bench.published write -->\n"
END = "<!-- bench-published ends -->\n"


def with_table(page: str, table: str) -> str:
    """Return the page with a new table between the two marks."""
    return between(page, BEGIN, END, table, PAGE)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["write"]):
        sys.exit("usage: python -m bench.published [write]")
    made = markdown(rows(load()))
    if sys.argv[1:]:
        PAGE.write_text(with_table(PAGE.read_text(), made))
    else:
        print(made)
