"""Campaigns that were killed: whoever looks into their database next says so."""

import contextlib

import click

from shootdown.store import Store, StoreError, abandoned, mark_abandoned, open_store


def settle(store: Store) -> None:
    """Mark the campaigns of which nobody is left to say that they have ended, and tell the user."""
    found = abandoned(store)
    if not found:
        return
    mark_abandoned(store, found)
    for stored in found:
        click.echo(
            f"No process runs the campaign {stored.campaign.name} any more; it is now marked as interrupted.",
            err=True,
        )


def reading_store(db: str) -> Store:
    """Open the findings database for reading, after its killed campaigns were marked if it can be written."""
    store = open_store(db, create=False, readonly=True)
    if abandoned(store):
        store.close()
        # A disk that cannot be written, or a campaign that holds the database: reading needs neither.
        with contextlib.suppress(StoreError), open_store(db, create=False) as writable:
            settle(writable)
        store = open_store(db, create=False, readonly=True)
    return store
