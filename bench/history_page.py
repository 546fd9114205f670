"""Put the table of the history bench into docs/benchmarks.md, from the bench's results file.

python -m bench.history_page
"""

from pathlib import Path

from bench.history import DEFAULT_OUT, table
from bench.page import between
from bench.runs import load

PAGE = Path("docs/benchmarks.md")
BEGIN = "<!-- bench-history: written by python -m bench.history_page -->\n"
END = "<!-- bench-history ends -->\n"


def with_table(page: str, results: Path) -> str:
    """Return the page with a new table between the two marks."""
    return between(page, BEGIN, END, table(load(results)), PAGE)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(), DEFAULT_OUT))
