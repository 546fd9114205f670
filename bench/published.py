"""Print how the machine agrees with the litmus tests that others have published; with `write` put it into the page.

python -m bench.published [write]

Needs some seconds.
"""

import sys
from pathlib import Path

from bench.page import between
from shootdown.conform.litmus.report import load, markdown, rows

PAGE = Path(__file__).resolve().parent.parent / "docs" / "published-verdicts.md"
BEGIN = "<!-- bench-published: written by python -m bench.published write -->\n"
END = "<!-- bench-published ends -->\n"


def with_table(page: str, table: str) -> str:
    """Return the page with what stands between the two marks made anew."""
    return between(page, BEGIN, END, table, PAGE)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["write"]):
        sys.exit("usage: python -m bench.published [write]")
    made = markdown(rows(load()))
    if sys.argv[1:]:
        PAGE.write_text(with_table(PAGE.read_text(), made))
    else:
        print(made)
