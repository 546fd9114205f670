"""The corpus of a campaign, kept so that a later campaign can go on with it."""

import hashlib
from collections.abc import Iterable

from shootdown.store.open import Store


def add_corpus(store: Store, campaign: str, scenarios: Iterable[bytes]) -> None:
    """Add every scenario to the campaign's corpus, once, in order of arrival.

    A power cut may take back the last calls.
    """
    with store.transaction(durable=False) as db:
        last = "SELECT coalesce(max(position), -1) FROM campaign_corpus WHERE campaign = ?"
        position = db.execute(last, [campaign]).fetchone()[0]
        for scenario in scenarios:
            position += 1
            db.execute(
                """
                INSERT INTO campaign_corpus (campaign, sha256, position, scenario)
                VALUES (?, ?, ?, ?)
                ON CONFLICT (campaign, sha256) DO NOTHING
                """,
                [campaign, hashlib.sha256(scenario).hexdigest(), position, scenario],
            )


def load_corpus(store: Store, campaign: str) -> list[bytes]:
    """Return the scenarios of the campaign in order of arrival, each once."""
    rows = store.select(
        """
        SELECT scenario FROM campaign_corpus
        WHERE campaign = ?
        ORDER BY position, sha256
        """,
        [campaign],
    )
    return [row["scenario"] for row in rows]
