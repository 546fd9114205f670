"""Scenarios of two CPUs and all pages, from the lines of a table."""

from collections.abc import Iterable

from shootdown.scenario import Scenario, parse


def on_two_cpus(layout: str, lines: Iterable[str]) -> Scenario:
    """Return the scenario of a layout that has these records as text."""
    head = ["shootdown-scenario 1", "cpus 2", "pages 8", f"layout {layout}", "asids 6", "batch 4"]
    return parse("\n".join([*head, "", *lines, ""])).scenario
