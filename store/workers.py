"""What happened to the worker processes of a campaign."""

from typing import Literal

from shootdown.store.open import Store
from shootdown.store.timestamps import canonical

WorkerEvent = Literal["started", "died", "hung", "replaced"]


def record_worker_event(
    store: Store, campaign: str, *, at: str, worker: int, what: WorkerEvent, detail: str = ""
) -> None:
    """Store the event durably.

    `worker`: its number in the campaign.
    `detail`: a sentence for a person.
    """
    row = {
        "campaign": campaign,
        "at": canonical(at),
        "worker": worker,
        "what": what,
        "detail": detail,
    }
    with store.transaction() as db:
        db.table("worker_events").upsert(row)
