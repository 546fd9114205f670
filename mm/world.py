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
    ) -> None:
        """Boot: one address space with no region, which no CPU has loaded yet, and zeros in the zero page."""
        flush_state = flush.new_state(cpus, asids, batch)
        super().__init__(machine, flush_state, cpus=cpus, pages=pages, batch=batch)
        self.flush = flush
        self.observer = observer
        self.watch: Watch | None = None
        machine.memory[:FANOUT] = [0] * FANOUT


FlushStrategy = FlushStrategyOf["World"]
"""A strategy for this world."""
