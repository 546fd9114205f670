"""The world that steps run in: its state, the strategy that flushes, and those that look on."""

from typing import ClassVar

from shootdown.machine.geometry import FANOUT
from shootdown.machine.x86 import Machine
from shootdown.mm.flush import FlushStrategy as FlushStrategyOf
from shootdown.mm.observer import Observer
from shootdown.mm.state import State
from shootdown.mm.watch import Watch


class World(State):
    """All that a step may read, write or call.

    A copy of a world has the same strategy, observer and watch; to look on at the copy alone is to replace them in it.
    """

    SHARED: ClassVar[frozenset[str]] = frozenset({"flush", "observer", "watch"})

    def __init__(
        self,
        machine: Machine,
        flush: "FlushStrategy",
        observer: Observer,
        *,
        cpus: int,
        pages: int,
        asids: int = 2,
        batch: int = 2,
        known: "World | None" = None,
    ) -> None:
        """Boot: one address space with no region, which no CPU has loaded; or go on from `known` beside a machine."""
        super().__init__(
            machine,
            known.flush_state.copy() if known else flush.new_state(cpus, asids, batch),
            cpus=cpus,
            pages=pages,
            batch=batch,
            known=known,
        )
        self.flush = flush
        self.observer = observer
        self.watch: Watch | None = known.watch if known else None
        if not known:
            machine.memory[:FANOUT] = [0] * FANOUT

    def copy(self) -> "World":
        """As Plain."""
        return World(
            self.machine.copy(),
            self.flush,
            self.observer,
            cpus=self.cpus,
            pages=self.pages,
            batch=self.batch,
            known=self,
        )


FlushStrategy = FlushStrategyOf["World"]
"""A strategy for this world."""
