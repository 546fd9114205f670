"""Small valid values for the tests of the findings database."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from shootdown.store import (
    Campaign,
    Comparison,
    Evidence,
    Minimum,
    Proof,
    Sighting,
    Store,
    StoredDisagreement,
    merge,
    open_store,
    record_finding,
    start_campaign,
)
from shootdown.store.schema import TABLES

Rows = list[dict[str, Any]]
Content = dict[str, Rows]

CAMPAIGN = Campaign(
    name="night",
    policy="v1",
    policy_version="1",
    tool_version="0.1.0",
    python="3.12.1",
    engine="atheris",
    seed=7,
    limits={"for": 60},
    workers=2,
    started="2026-01-01T00:00:00Z",
)

MINIMUM = Minimum(
    policy="v1",
    rule="C2",
    reason="denied-though-allowed",
    skip="nx-cleared",
    scenario=b"\x01\x00\x00\x00\x01\x00\x00\x00",
    text="shootdown-scenario 1\ncpus 2\npages 1\nlayout private\n\ncpu0 write p0\n",
    operations=1,
    cpus=2,
    pages=1,
)

EVIDENCE = Evidence(
    steps=["cpu0 write p0", "cpu1 mprotect p0 rx"],
    history=[{"value": 5, "grants": "rw"}],
    open_operations=["cpu1 mprotect p0 rx"],
)

PROOF = Proof(
    campaign=CAMPAIGN.id,
    scope="2 CPUs, 1 page, up to 3 operations of read, exec, mprotect",
    bound={"cpus": 2, "pages": 1, "ops": 3},
    verdict="illegal",
    complete=2,
    worlds=100,
    transitions=300,
    seconds=1.5,
)
"""What `store_with_finding` can be given."""

COMPARISON = Comparison(
    kind="live",
    seed=7,
    tool_version="0.1.0",
    python="3.12.1",
    machine={"release": "6.18.0"},
    left_out=["a second CPU"],
    started="2026-01-01T00:00:00Z",
)

DISAGREEMENT = StoredDisagreement(
    kind="live", what="outcome", model="MAPERR", other="DONE 1", text=MINIMUM.text
)


def instant(second: int) -> str:
    """Return the instant that many seconds after a fixed one, in the form that the store keeps."""
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000000Z"


def minimum(number: int, **changes: Any) -> Minimum:  # noqa: ANN401 (whatever Minimum takes)
    """Return a different minimum for each number."""
    scenario = MINIMUM.scenario + number.to_bytes(4, "big")
    return replace(MINIMUM, scenario=scenario, **changes)


def sighting(campaign: str, second: int = 1, **changes: Any) -> Sighting:  # noqa: ANN401 (whatever Sighting takes)
    """Return a sighting at that second."""
    seen = Sighting(
        campaign=campaign,
        at=instant(second),
        execution=1000 + second,
        original=b"\x02\x00\x00\x00" * 3,
        runs=120,
        tool_version="0.1.0",
    )
    return replace(seen, **changes)


def store_with_finding(path: Path | str) -> Store:
    """Return a new store that holds one campaign and one finding of it."""
    store = open_store(path, create=True)
    campaign = start_campaign(store, CAMPAIGN)
    record_finding(store, MINIMUM, sighting(campaign), EVIDENCE)
    return store


def filled(content: Content) -> Store:
    """Return a store in memory with these rows."""
    store = open_store(":memory:", create=True)
    with store.transaction() as db:
        for table in TABLES:
            db.table(table).insert_all(content[table])
    return store


def dump(store: Store) -> Content:
    """Return all rows of a store, in an order that does not depend on how they came there."""
    return {table: sorted(store.db.table(table).rows, key=repr) for table in TABLES}


def merged(*contents: Content) -> Content:
    """Return what a store with the first content holds after the others have been merged into it, one after
    the other.
    """
    with filled(contents[0]) as into:
        for content in contents[1:]:
            with filled(content) as source:
                merge(into, source)
        return dump(into)
