"""Medians over runs, some of which did not find their fault: these are censored, and count as longer than
all others.
"""

import statistics
from collections.abc import Sequence

from bench.runs import Run

CENSORED = float("inf")


def values(runs: Sequence[Run], stage: str) -> list[float]:
    """Return when each run reached a stage; CENSORED for a run that did not."""
    return [float(str(r.get(stage) or CENSORED)) for r in runs]


def median(runs: Sequence[Run], stage: str) -> float:
    """Return the lower median of a stage over all runs."""
    return statistics.median_low(values(runs, stage))


def cell(runs: Sequence[Run], stage: str) -> str:
    """Return the median of a stage, and how many runs reached it if not all did; seconds have one digit."""
    if not runs:
        return "-"
    came = sum(value < CENSORED for value in values(runs, stage))
    middle = median_told(runs, stage, 1 if stage == "seconds" else 0)
    return middle if came == len(runs) else f"{middle} ({came} of {len(runs)})"


def median_told(runs: Sequence[Run], stage: str, digits: int) -> str:
    """Return the median of a stage over at least one run, or ">" and the limit if the median is censored."""
    middle = median(runs, stage)
    if middle < CENSORED:
        return number(middle, digits)
    if stage == "seconds":
        return f"> {float(str(runs[0]['limit'])):,.0f}"
    return f"> {median(runs, 'total_executions'):,.0f}"


def number(value: float, digits: int) -> str:
    """Return a median for a person to read; a censored one is past every limit."""
    return f"{value:,.{digits}f}" if value < CENSORED else "∞"
