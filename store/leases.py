"""Whether a campaign that is stored as running still runs.

Its process holds a lock on a file beside the database from before the campaign is stored until after it is stored as
ended. So a running campaign without that lock was killed, or this database is a copy of the one that the campaign
writes to.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from shootdown.store.campaigns import StoredCampaign, list_campaigns
from shootdown.store.open import MEMORY, Store
from shootdown.store.timestamps import canonical
from shootdown.system.lock import HeldLock, is_held


def hold_lease(store: Store, campaign: str) -> HeldLock | None:
    """Say that this process runs the campaign with that id, which is not stored yet.

    Return None where no lock is possible: such a campaign may be taken for killed, until it says that it has ended.
    """
    if store.path == MEMORY:
        return None
    try:
        return HeldLock(_lease(store, campaign))
    except OSError:
        return None


def abandoned(store: Store) -> list[StoredCampaign]:
    """Return the campaigns that are stored as running but have no process; nothing is written."""
    return [
        stored
        for stored in list_campaigns(store)
        if stored.status == "running" and not is_held(_lease(store, stored.id))
    ]


def mark_abandoned(store: Store, campaigns: Sequence[StoredCampaign]) -> None:
    """Store the abandoned campaigns as interrupted, at the last moment that their totals record.

    That moment is the same in every copy of the database. A campaign that has ended after all stays as it is.
    """
    with store.transaction() as db:
        for stored in campaigns:
            began = datetime.fromisoformat(stored.campaign.started)
            ended = began + timedelta(seconds=stored.totals.seconds)
            db.execute(
                "UPDATE campaigns SET status = 'interrupted', ended = ? WHERE id = ? AND status = 'running'",
                [canonical(ended.isoformat()), stored.id],
            )
    for stored in campaigns:
        _lease(store, stored.id).unlink(missing_ok=True)


def _lease(store: Store, campaign: str) -> Path:
    path = store.path.resolve()
    return path.with_name(f"{path.name}-running-{campaign[:16]}")
