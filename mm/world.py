"""The world in which steps run: its state, its flush strategy, and its observer and watch."""

from typing import ClassVar

from shootdown.machine.geometry import FANOUT
from shootdown.machine.x86 import Machine
from shootdown.mm.flush import FlushStrategy as FlushStrategyOf
from shootdown.mm.observer import Observer
from shootdown.mm.state import State
from shootdown.mm.watch import Watch


class World(State):
    """Everything that a step may read, write or call.

    A copy of a world has the same strategy, observer and watch; replace them in the copy to observe it alone.
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
        """Boot with one address space without regions, loaded by no CPU, or continue from `known` on a machine."""
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
        """Return an equal world that shares no mutable state except the strategy, the observer and the watch."""
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
