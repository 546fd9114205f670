"""What a comparison writes into the findings database: its machine, its figures as they grow, and each disagreement."""

import json
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final

from shootdown.conform.outcome import Figures, Found
from shootdown.scenario import render
from shootdown.store import (
    Comparison,
    Reach,
    Store,
    StoredDisagreement,
    StoreError,
    record_disagreement,
    save_reach,
    start_comparison,
)
from shootdown.system.environment import now

SAVE_SECONDS: Final = 2.0


class Ledger:
    """Keeps one comparison in the database, from its start to its end.

    `broken`: why the database accepts no more, if it does not; the comparison goes on, and its report has everything.
    """

    def __init__(
        self,
        store: Store,
        kind: str,
        seed: int,
        machine: Mapping[str, object],
        left_out: Sequence[str],
    ) -> None:
        self.store = store
        self.id = start_comparison(
            store,
            Comparison(
                kind=kind,
                seed=seed,
                tool_version=version("shootdown"),
                python=platform.python_version(),
                machine=dict(machine),
                left_out=list(left_out),
                started=now(),
            ),
        )
        self.broken: StoreError | None = None
        self._next = time.monotonic() + SAVE_SECONDS

    def found(self, found: Found) -> bool:
        """Store a disagreement durably; return whether it was new to the database."""
        text = found.text or render(found.scenario)
        stored = StoredDisagreement(found.kind, found.what, found.model, found.other, text)
        try:
            return record_disagreement(self.store, self.id, stored, now())
        except StoreError as error:
            self.broken = error
            return True

    def save(self, figures: Figures) -> None:
        """Store the figures, if it is time to do so."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SAVE_SECONDS
            self._save(figures, None)

    def end(self, figures: Figures) -> None:
        """Store the last figures, and the end."""
        self._save(figures, now())

    def _save(self, figures: Figures, ended: str | None) -> None:
        try:
            save_reach(self.store, self.id, _reach(figures), ended)
        except StoreError as error:
            self.broken = error


def _reach(figures: Figures) -> Reach:
    return Reach(
        figures.sequences,
        figures.operations,
        figures.accesses,
        round(figures.seconds, 3),
        json.dumps(figures.explained, sort_keys=True),
    )
