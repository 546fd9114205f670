"""Scenarios: the only source of choice of an execution, in memory, as bytes and as text.

These are the forms; `generate`, `mutate` and `schedule` make scenarios and are imported by module.
"""

from fuzz.scenario.binary import decode, encode
from fuzz.scenario.record import Header, Record, Scenario
from fuzz.scenario.text import (
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
