"""Campaigns that were killed: the next command that opens their database says so."""

import contextlib

import click

from shootdown.store import Store, StoreError, abandoned, mark_abandoned, open_store


def settle(store: Store) -> None:
    """Mark the campaigns whose process is gone as interrupted, and tell the user."""
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
    """Open the findings database for reading; if it can be written, mark its killed campaigns first."""
    store = open_store(db, create=False, readonly=True)
    if abandoned(store):
        store.close()
        # The disk cannot be written, or a campaign holds the database: reading works in spite of both.
        with contextlib.suppress(StoreError), open_store(db, create=False) as writable:
            settle(writable)
        store = open_store(db, create=False, readonly=True)
    return store
