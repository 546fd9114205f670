"""What every test shares: Hypothesis draws the same examples in every run, and no store stays open."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fuzz.store import Store

settings.register_profile(
    "repeatable",
    derandomize=True,
    # A deadline would make a result depend on how busy the machine is.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _close_stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every Store that a test opened is closed when it ends."""
    opened: list[Store] = []
    initialize = Store.__init__

    def remember(store: Store, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (whatever Store takes)
        initialize(store, *args, **kwargs)
        opened.append(store)

    monkeypatch.setattr(Store, "__init__", remember)
    yield
    for store in opened:
        store.close()
