"""Columns of text, for reports and for what the findings database keeps of them."""

from collections.abc import Sequence


def columns(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return an indented table with aligned columns; without rows, return nothing."""
    if not rows:
        return []
    lines = [heading, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heading))]
    return [
        (
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
