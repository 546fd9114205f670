"""What tests share: the same examples in every run, no store that stays open, and a driver for the kernel."""

import platform
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from shootdown.conform.live.build import compile_driver
from shootdown.conform.live.driver import Driver
from shootdown.store import Store

settings.register_profile(
    "repeatable",
    derandomize=True,
    # A deadline would make a result depend on how busy the machine is.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# For `make explore`: new examples in every run; failed ones are kept in .hypothesis and tried first.
settings.register_profile(
    "explore",
    settings.get_profile("repeatable"),
    derandomize=False,
    max_examples=200,
    database=DirectoryBasedExampleDatabase(Path(__file__).parents[1] / ".hypothesis" / "examples"),
    print_blob=True,
)
# After this, pytest loads the profile that --hypothesis-profile names.
settings.load_profile("repeatable")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the tests of an exploration in an order that its seed gives, so that all of them have their turn."""
    if config.getoption("--hypothesis-profile") == "explore":
        random.Random(config.getoption("--hypothesis-seed")).shuffle(items)


@pytest.fixture(autouse=True)
def _close_stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close every Store that a test has opened, when the test ends."""
    opened: list[Store] = []
    initialize = Store.__init__

    def remember(store: Store, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (whatever Store takes)
        initialize(store, *args, **kwargs)
        opened.append(store)

    monkeypatch.setattr(Store, "__init__", remember)
    yield
    for store in opened:
        store.close()


@pytest.fixture(scope="session")
def driver_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the driver of `shootdown conform --live`, compiled."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the driver is for Linux on x86-64")
    return compile_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def driver(driver_program: Path, tmp_path: Path) -> Iterator[Driver]:
    """Yield a running driver."""
    file, tracefs = tmp_path / "file", tmp_path / "tracefs"
    file.touch()
    tracefs.mkdir()
    with Driver(driver_program, file, tracefs) as started:
        yield started
