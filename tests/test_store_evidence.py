"""Traces and replays of findings."""

from dataclasses import replace

import pytest

from shootdown.store import (
    Replay,
    Store,
    StoredTrace,
    list_replays,
    load_trace,
    record_finding,
    record_replay,
)
from tests.store_samples import CAMPAIGN, EVIDENCE, MINIMUM, instant, sighting, store_with_finding

REPLAY = Replay(
    finding=MINIMUM.key,
    at=instant(10),
    policy="v1",
    tool_version="0.1.0",
    verdict="illegal",
    rule="C2",
    reason="denied-though-allowed",
    reproduced=True,
)


@pytest.fixture
def store() -> Store:
    """Return a store in memory with one finding."""
    return store_with_finding(":memory:")


def test_trace(store: Store) -> None:
    """The trace comes back as it was recorded with the finding."""
    assert load_trace(store, MINIMUM.key) == StoredTrace(instant(1), "0.1.0", EVIDENCE)
    assert load_trace(store, "0" * 64) is None


def test_first_trace_stays(store: Store) -> None:
    """A later sighting does not change the trace."""
    other = replace(EVIDENCE, steps=["other"])

    record_finding(store, MINIMUM, sighting(CAMPAIGN.id, 2), other)

    assert load_trace(store, MINIMUM.key) == StoredTrace(instant(1), "0.1.0", EVIDENCE)


def test_replays(store: Store) -> None:
    """Replays come back as recorded, the last one first, and none twice."""
    later = replace(REPLAY, at=instant(20), verdict="legal", rule="", reason="", reproduced=False)
    for replay in (REPLAY, later, REPLAY):
        record_replay(store, replay)

    assert list_replays(store, MINIMUM.key) == [later, REPLAY]
    assert list_replays(store, "0" * 64) == []
