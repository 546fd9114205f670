"""The page of operations, from their declarations: `python -m building.operations > docs/operations.md`."""

from shootdown.mm.declaration import Operation
from shootdown.mm.operations import OPERATIONS

HEAD = """# Operations

This page lists what a CPU can begin in a scenario; each operation is declared beside its steps (`mm/declaration.py`).
`python -m building.operations` prints this page anew.
Two of them can overlap if their locks allow it.
One that holds mmap_lock for writing meets only operations that do not hold it at all.

| operation | what it does | its pages and argument | runs in | holds mmap_lock | finds something in |
| --- | --- | --- | --- | --- | --- |
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(map(_row, OPERATIONS))


def _row(each: Operation) -> str:
    pages = {"none": "", "one": "a page", "range": "pages"}[each.pages]
    words = " and ".join(filter(None, (pages, each.argument.expected))) or "-"
    layouts = ", ".join(each.layouts) or "any layout"
    needs = f", after {', '.join(each.needs)}" if each.needs else ""
    thread = "the kernel" if each.kernel else "a program"
    cells = (f"`{each.name}`", each.summary, words, thread, each.lock.value, layouts + needs)
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    print(page(), end="")
