"""Put the table of the history bench into the README, from the results file that the bench has written.

python -m bench.readme
"""

from pathlib import Path

from bench.history import DEFAULT_OUT, table
from bench.page import between
from bench.runs import load

README = Path("README.md")
BEGIN = "<!-- bench-history: written by python -m bench.readme -->\n"
END = "<!-- bench-history ends -->\n"


def with_table(readme: str, results: Path) -> str:
    """Return the README with what stands between the two marks made anew."""
    return between(readme, BEGIN, END, table(load(results)), README)


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(), DEFAULT_OUT))
