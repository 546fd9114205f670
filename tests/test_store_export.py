"""Findings exported for other programs and for people."""

import csv
import io
import json
from inspect import isfunction, signature

import pytest

from shootdown.store import (
    FORMATS,
    Replay,
    Store,
    export,
    jsonable,
    list_findings,
    record_finding,
    record_replay,
)
from shootdown.store.export import CSV_COLUMNS
from tests.store_samples import (
    CAMPAIGN,
    EVIDENCE,
    MINIMUM,
    instant,
    minimum,
    sighting,
    store_with_finding,
)

OTHER = minimum(1, skip="", text='shootdown-scenario 1\n# "quoted", with a comma\n')


@pytest.fixture
def store() -> Store:
    """Return a store in memory with two findings, one of them replayed."""
    store = store_with_finding(":memory:")
    record_finding(store, OTHER, sighting(CAMPAIGN.id, 2), EVIDENCE)
    replay = Replay(
        MINIMUM.key, instant(9), "v1", "0.1.0", "illegal", "C2", "denied", reproduced=True
    )
    record_replay(store, replay)
    return store


def test_what_writes_findings_is_a_format() -> None:
    """Each function of the module that writes findings to a file is one of the formats."""
    writers = {
        function
        for function in vars(export).values()
        if isfunction(function) and {"findings", "out"} <= signature(function).parameters.keys()
    }

    assert writers == {*FORMATS.values()}


def test_json_lines(store: Store) -> None:
    """Each line is one finding with all that is known of it; bytes are hex digits."""
    out = io.StringIO()

    FORMATS["jsonl"](store, list_findings(store), out)

    first, second = map(json.loads, out.getvalue().splitlines())
    assert bytes.fromhex(first["scenario"]) == MINIMUM.scenario
    assert first == {
        "id": MINIMUM.key[:16],
        "key": MINIMUM.key,
        "policy": "v1",
        "rule": "C2",
        "reason": "denied-though-allowed",
        "skip": "nx-cleared",
        "scenario": "0100000001000000",
        "text": MINIMUM.text,
        "operations": 1,
        "cpus": 2,
        "pages": 1,
        "first_seen": instant(1),
        "last_seen": instant(1),
        "count": 1,
        "campaigns": 1,
        "original": "02000000" * 3,
        "runs": 120,
        "tool_version": "0.1.0",
        "sightings": [
            {
                "campaign": CAMPAIGN.id,
                "name": "night",
                "base": "",
                "count": 1,
                "first_seen": instant(1),
                "last_seen": instant(1),
                "execution": 1001,
                "original": "02000000" * 3,
                "runs": 120,
                "tool_version": "0.1.0",
            }
        ],
        "trace": {
            "at": instant(1),
            "tool_version": "0.1.0",
            "evidence": {
                "steps": EVIDENCE.steps,
                "history": EVIDENCE.history,
                "open_operations": EVIDENCE.open_operations,
            },
        },
        "replays": [
            {
                "finding": MINIMUM.key,
                "at": instant(9),
                "policy": "v1",
                "tool_version": "0.1.0",
                "verdict": "illegal",
                "rule": "C2",
                "reason": "denied",
                "reproduced": True,
            }
        ],
    }
    assert second["replays"] == []


def test_csv(store: Store) -> None:
    """A header and one record for each finding, which a CSV reader gives back."""
    out = io.StringIO(newline="")

    FORMATS["csv"](store, list_findings(store), out)

    rows = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert [*rows[0]] == [*CSV_COLUMNS]
    assert [row["key"] for row in rows] == [MINIMUM.key, OTHER.key]
    assert rows[0]["scenario"] == MINIMUM.scenario.hex()


def test_csv_of_nothing(store: Store) -> None:
    """Without findings there is still the header."""
    out = io.StringIO(newline="")

    FORMATS["csv"](store, [], out)

    assert out.getvalue() == ",".join(CSV_COLUMNS) + "\n"


def test_text_of_one(store: Store) -> None:
    """One finding is its scenario's text after two lines of comment."""
    out = io.StringIO()

    FORMATS["text"](store, list_findings(store)[:1], out)

    assert out.getvalue() == (
        f"# finding {MINIMUM.key[:16]}: v1 C2 denied-though-allowed, skip nx-cleared\n"
        f"# seen 1 times, {instant(1)} to {instant(1)}\n" + MINIMUM.text
    )


def test_text_of_several(store: Store) -> None:
    """An empty line is between findings, and a finding without a guilty skip names none."""
    out = io.StringIO()

    FORMATS["text"](store, list_findings(store), out)

    first, second = out.getvalue().split("\n\n# finding ")
    assert first.startswith("# finding ")
    assert second.splitlines()[0].endswith("v1 C2 denied-though-allowed")
    assert out.getvalue().endswith("with a comma\n")


def test_jsonable() -> None:
    """Bytes become hex digits at any depth; everything else stays."""
    assert jsonable({"a": [b"\x00\xff", (1, None)], "b": "text"}) == {
        "a": ["00ff", [1, None]],
        "b": "text",
    }
