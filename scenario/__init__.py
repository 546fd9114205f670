"""Scenarios: the only source of choice of an execution, in memory, as bytes and as text.

This room has the forms; `fuzz.inputs` makes scenarios.
"""

from shootdown.scenario.binary import decode, encode
from shootdown.scenario.record import Header, Record, Scenario
from shootdown.scenario.text import (
    Expectation,
    ParsedScenario,
    ScenarioError,
    parse,
    render,
    render_record,
)

__all__ = [
    "Expectation",
    "Header",
    "ParsedScenario",
    "Record",
    "Scenario",
    "ScenarioError",
    "decode",
    "encode",
    "parse",
    "render",
    "render_record",
]
