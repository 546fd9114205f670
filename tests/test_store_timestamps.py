"""Instants in the store."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.store.timestamps import canonical

INSTANTS = st.datetimes(timezones=st.just(UTC))


@given(INSTANTS, INSTANTS)
def test_text_order_is_time_order(first: datetime, second: datetime) -> None:
    """Of two instants the earlier one has the smaller text."""
    assert (canonical(first.isoformat()) < canonical(second.isoformat())) == (first < second)


@given(INSTANTS)
def test_canonical_form_stays(instant: datetime) -> None:
    """The canonical form has 27 characters, is its own canonical form and loses nothing."""
    text = canonical(instant.isoformat())

    assert len(text) == 27
    assert canonical(text) == text
    assert datetime.fromisoformat(text) == instant


@pytest.mark.parametrize(
    "text", ["2026-01-01T00:00:00", "2026-01-01T00:00:00+02:00", "yesterday", ""]
)
def test_other_times_are_refused(text: str) -> None:
    """A local time, another offset, and text that is no time at all are a ValueError."""
    with pytest.raises(ValueError, match=r".+"):
        canonical(text)


def test_seconds_and_microseconds_mix() -> None:
    """A whole second sorts before the microsecond after it, although isoformat() shortens it."""
    whole = datetime(2026, 1, 1, tzinfo=UTC)
    later = whole + timedelta(microseconds=1)

    assert canonical(whole.isoformat()) < canonical(later.isoformat())
