"""Campaigns whose process is gone."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.store import (
    Store,
    Totals,
    abandoned,
    end_campaign,
    find_campaign,
    hold_lease,
    mark_abandoned,
    open_store,
    save_totals,
    start_campaign,
)
from shootdown.system.lock import HeldLock, is_held
from tests.store_samples import CAMPAIGN, instant

OTHER = replace(CAMPAIGN, name="day")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty store in a file."""
    return open_store(tmp_path / "findings.db", create=True)


def test_running_campaign_is_not_abandoned(store: Store) -> None:
    """A campaign is abandoned once its lease is released and not before; one without a lease is from the start."""
    lease = hold_lease(store, CAMPAIGN.id)
    start_campaign(store, CAMPAIGN)
    start_campaign(store, OTHER)
    assert lease is not None

    assert [stored.id for stored in abandoned(store)] == [OTHER.id]
    lease.release()
    assert {stored.id for stored in abandoned(store)} == {CAMPAIGN.id, OTHER.id}
    assert list(store.path.parent.glob("*-running-*")) == []


def test_lease_is_the_same_through_a_link(store: Store, tmp_path: Path) -> None:
    """A database that is opened through a symbolic link has the leases of the file itself."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(store.path)
    start_campaign(store, CAMPAIGN)
    lease = hold_lease(store, CAMPAIGN.id)

    with open_store(link, create=False, readonly=True) as linked:
        assert abandoned(linked) == []
    assert lease is not None
    lease.release()


def test_store_in_memory_has_no_lease() -> None:
    """A store in memory ends with its process, and leaves no file for a campaign."""
    with open_store(":memory:", create=True) as store:
        assert hold_lease(store, CAMPAIGN.id) is None


def test_abandoned_campaign_ends_where_its_totals_do(store: Store) -> None:
    """An abandoned campaign becomes interrupted, at its start plus the seconds that it is known to have run."""
    start_campaign(store, CAMPAIGN)
    save_totals(store, CAMPAIGN.id, Totals(executions=5, seconds=61.5))

    mark_abandoned(store, abandoned(store))

    stored = find_campaign(store, "night")
    assert (stored.status, stored.ended) == ("interrupted", "2026-01-01T00:01:01.500000Z")
    assert stored.totals.executions == 5
    assert abandoned(store) == []


def test_campaign_that_ended_meanwhile_stays(store: Store) -> None:
    """If a campaign says how it ended between the question and the mark, that stays."""
    start_campaign(store, CAMPAIGN)
    found = abandoned(store)
    end_campaign(store, CAMPAIGN.id, status="finished", ended=instant(9))

    mark_abandoned(store, found)

    assert find_campaign(store, "night").status == "finished"


def test_lock_ends_with_its_process(tmp_path: Path) -> None:
    """The lock of a process that is killed is free at once, although its file stays."""
    lock = tmp_path / "lock"
    script = (
        "import pathlib, sys; from shootdown.system.lock import HeldLock;"
        " lock = HeldLock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert is_held(lock)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not is_held(lock)
    assert lock.exists()


def test_lock_is_not_handed_to_children(tmp_path: Path) -> None:
    """A process that the holder has started does not hold the lock after it."""
    lock = HeldLock(tmp_path / "lock")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        lock.release()
        lock.release()
        assert not is_held(tmp_path / "lock")
