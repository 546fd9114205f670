"""Findings and their sightings."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.store import (
    Minimum,
    Recorded,
    Store,
    StoredFinding,
    count_again,
    find_finding,
    list_findings,
    list_sightings,
    open_store,
    record_finding,
    start_campaign,
)
from shootdown.store.errors import AmbiguousFinding, UnknownFinding
from tests.store_samples import CAMPAIGN, EVIDENCE, MINIMUM, instant, minimum, sighting


@pytest.fixture
def store() -> Store:
    """Return a store in memory with the campaign of the samples."""
    store = open_store(":memory:", create=True)
    start_campaign(store, CAMPAIGN)
    return store


def test_recorded(store: Store) -> None:
    """A finding comes back with everything that was recorded."""
    recorded = record_finding(store, MINIMUM, sighting(CAMPAIGN.id, 5), EVIDENCE)

    assert recorded == Recorded(MINIMUM.key, new=True)
    assert list_findings(store) == [
        StoredFinding(
            key=MINIMUM.key,
            minimum=MINIMUM,
            first_seen=instant(5),
            last_seen=instant(5),
            count=1,
            campaigns=1,
            original=b"\x02\x00\x00\x00" * 3,
            runs=120,
            tool_version="0.1.0",
        )
    ]


def test_seen_again(store: Store) -> None:
    """A finding that its campaign sees again is the same row, not new, with the first sighting's input."""
    record_finding(store, MINIMUM, sighting(CAMPAIGN.id, 5), EVIDENCE)
    again = record_finding(store, MINIMUM, sighting(CAMPAIGN.id, 9, original=b"?"), EVIDENCE)

    (stored,) = list_findings(store)
    assert not again.new
    assert (stored.count, stored.first_seen, stored.last_seen) == (2, instant(5), instant(9))
    assert stored.original == b"\x02\x00\x00\x00" * 3


def test_seen_by_two_campaigns(store: Store) -> None:
    """The dates and the count of a finding span all campaigns; the input is that of the earliest sighting."""
    day = start_campaign(store, replace(CAMPAIGN, name="day"))
    record_finding(store, MINIMUM, sighting(CAMPAIGN.id, 5, original=b"late"), EVIDENCE)
    record_finding(store, MINIMUM, sighting(day, 2, original=b"early", runs=3), EVIDENCE)

    (stored,) = list_findings(store)
    assert (stored.count, stored.campaigns) == (2, 2)
    assert (stored.first_seen, stored.last_seen) == (instant(2), instant(5))
    assert (stored.original, stored.runs) == (b"early", 3)
    assert [(seen.name, seen.execution) for seen in list_sightings(store, MINIMUM.key)] == [
        ("day", 1002),
        ("night", 1005),
    ]


def test_count_again(store: Store) -> None:
    """Sightings counted in bulk add up and move the last date, never back."""
    record_finding(store, MINIMUM, sighting(CAMPAIGN.id, 5), EVIDENCE)
    record_finding(store, minimum(1), sighting(CAMPAIGN.id, 6), EVIDENCE)

    count_again(store, CAMPAIGN.id, {MINIMUM.key: 10, minimum(1).key: 1}, at=instant(8))
    count_again(store, CAMPAIGN.id, {MINIMUM.key: 1}, at=instant(7))

    assert [(found.count, found.last_seen) for found in list_findings(store)] == [
        (12, instant(8)),
        (2, instant(8)),
    ]


def test_count_again_of_the_unrecorded(store: Store) -> None:
    """Counting a finding that the campaign never recorded is a ValueError, and counts nothing."""
    record_finding(store, MINIMUM, sighting(CAMPAIGN.id), EVIDENCE)

    with pytest.raises(ValueError, match="has not recorded the finding"):
        count_again(store, CAMPAIGN.id, {MINIMUM.key: 1, minimum(1).key: 1}, at=instant(8))

    assert [found.count for found in list_findings(store)] == [1]


def test_filters(store: Store) -> None:
    """Findings are listed by policy, rule and campaign, in the order in which they were first seen."""
    day = start_campaign(store, replace(CAMPAIGN, name="day"))
    record_finding(store, minimum(1, policy="v3"), sighting(day, 3), EVIDENCE)
    record_finding(store, minimum(2, rule="C1"), sighting(CAMPAIGN.id, 2), EVIDENCE)
    record_finding(store, MINIMUM, sighting(CAMPAIGN.id, 1), EVIDENCE)

    def seconds(findings: list[StoredFinding]) -> list[str]:
        return [found.first_seen[17:19] for found in findings]

    assert seconds(list_findings(store)) == ["01", "02", "03"]
    assert seconds(list_findings(store, policy="v1")) == ["01", "02"]
    assert seconds(list_findings(store, rule="C2")) == ["01", "03"]
    assert seconds(list_findings(store, campaign=day)) == ["03"]
    assert seconds(list_findings(store, policy="v3", rule="C1")) == []


def test_any_unique_beginning(store: Store) -> None:
    """A finding is found by any beginning of its key that no other shares, in either case."""
    record_finding(store, MINIMUM, sighting(CAMPAIGN.id), EVIDENCE)
    key = MINIMUM.key

    found = [find_finding(store, text) for text in (key, key[:16], key[:1], key[:20].upper())]

    assert {one.key for one in found} == {key}
    assert found[0].id == key[:16]


@pytest.mark.parametrize("typed", ["", "xyz", "%", "_", MINIMUM.key + "0"])
def test_unknown_beginning(store: Store, typed: str) -> None:
    """A text that begins no key is UnknownFinding, and so is an empty text."""
    record_finding(store, MINIMUM, sighting(CAMPAIGN.id), EVIDENCE)

    with pytest.raises(UnknownFinding, match="has no finding whose id starts with"):
        find_finding(store, typed)


def test_ambiguous_beginning(store: Store) -> None:
    """A beginning that several keys share is AmbiguousFinding, which shows some of them."""
    minima = [minimum(number) for number in range(100)]
    shared = [one for one in minima if one.key[0] == "7"]
    for one in minima:
        record_finding(store, one, sighting(CAMPAIGN.id), EVIDENCE)

    with pytest.raises(
        AmbiguousFinding, match=rf"^7 is the start of {len(shared)} findings: 7"
    ) as error:
        find_finding(store, "7")

    assert str(error.value).endswith(f" and {len(shared) - 3} more.")


PARTS = st.text(max_size=3)
MINIMA = st.builds(
    Minimum,
    policy=PARTS,
    rule=PARTS,
    reason=PARTS,
    skip=PARTS,
    scenario=st.binary(max_size=3),
    text=PARTS,
    operations=st.integers(0, 3),
    cpus=st.just(1),
    pages=st.just(1),
)


@given(MINIMA, MINIMA)
def test_key_is_the_content(first: Minimum, second: Minimum) -> None:
    """Two minima have one key exactly when policy, rule, reason, skip and scenario are equal."""

    def identity(one: Minimum) -> tuple[object, ...]:
        return (one.policy, one.rule, one.reason, one.skip, one.scenario)

    assert (first.key == second.key) == (identity(first) == identity(second))


def test_parts_do_not_run_together() -> None:
    """Moving a letter from one part to the next makes another key."""
    first = replace(MINIMUM, policy="ab", rule="c")
    second = replace(MINIMUM, policy="a", rule="bc")

    assert first.key != second.key


def test_key_is_stable() -> None:
    """The key of a minimum never changes: it is in other people's databases and mails."""
    assert MINIMUM.key[:16] == "4d2a3445ec9229cf"
