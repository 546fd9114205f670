"""The part of the key for what few worlds have: the file, swap, broadcasts, PKRU, postponed work."""

from typing import Final

from shootdown.machine.geometry import PAGES
from shootdown.mm.state import MMS
from shootdown.mm.world import World
from shootdown.optimized.state import X86State
from shootdown.prove.names import Names
from shootdown.run.oracle import Oracle
from shootdown.scenario.kinds import MAX_CPUS

_EMPTY: Final = [X86State(cpus, 1, 1) for cpus in range(MAX_CPUS + 1)]
_HUGE_ZERO, _DRIVER, _PKEYS, _FILE, _BROADCASTS, _TRIM_DUE, _OWN, _SWAP = range(-108, -100)
"""Marks that no other part of a key uses."""


def state_of(w: World) -> X86State:
    """Return the state of the strategy; for one that is opaque, a state in which nothing is pending."""
    return _EMPTY[w.cpus] if w.flush_state.opaque else w.flush_state


class Sparse(Names):
    """Writes these parts to `out`; each method writes a mark first, and nothing if the world has none of its part.

    `first`: the CPU at which the walk began.
    `newest`: the newest generation of each address space.
    """

    __slots__ = ("epochs", "first", "newest", "oracle", "out")

    def __init__(
        self, w: World, oracle: Oracle, first: int, *, names: bool, number_frames: bool
    ) -> None:
        super().__init__(names=names, number_frames=number_frames)
        self.first = first
        self.oracle = oracle
        self.out: list[int] = []
        self.newest = state_of(w).tlb_gen
        # The place in the key of what was postponed to an epoch.
        self.epochs: dict[int, int] = {}

    def turned(self, mask: int, cpus: int) -> int:
        """Return a mask of CPUs rotated, so that its lowest bit is the CPU at which the walk began."""
        return (mask >> self.first | mask << cpus - self.first) & (1 << cpus) - 1

    def file(self, w: World, oracle: Oracle) -> None:
        """Write the page cache, the backing store and the reverse map."""
        self.out.append(_FILE)
        for place in range(PAGES, PAGES + w.pages):
            frame = w.shared[place]
            owner = oracle.file_objects.get(place, -1)
            self.out.append(self.frame(frame) if frame >= 0 else -1)
            self.out += (self.value(w.disk.get(place, 0)), self.owner(owner))
        self.out.append(len(w.rmap))
        for place in sorted(w.rmap):
            self.out += (place, self.frame(w.rmap[place]))

    def huge_zero(self, w: World) -> None:
        """Write the first frame of the huge zero page."""
        self.out += (_HUGE_ZERO, self.frame(w.huge_zero))

    def driver(self, w: World) -> None:
        """Write a driver's pages, the regions that unmap_mapping_range finds, and their lock."""
        self.out += (_DRIVER, w.i_mmap_lock, len(w.i_mmap))
        for at in sorted(w.i_mmap):
            self.out.append(at << 3 | w.i_mmap[at])
        for place in range(w.pages):
            self.out.append(self.frame(w.driver[place]) if place in w.driver else -1)

    def broadcasts(self, w: World, state: X86State) -> None:
        """Write the global ASIDs, and what has been issued for each CPU but is not carried out."""
        self.out += (_BROADCASTS, *state.global_asid, state.last_global, state.transition)
        cpus = w.cpus
        self.out.append(self.turned(state.need_tlbsync, cpus))
        for distance in range(cpus):
            issued = w.machine.issued[(self.first + distance) % cpus]
            self.out.append(len(issued))
            for place in sorted(issued):
                self.out += (place, self.turned(issued[place], cpus))

    def write(self, *facts: int) -> None:
        """Append numbers to the key, as mm.flush.Walk demands."""
        self.out += facts

    def generation(self, mm: int, generation: int) -> int:
        """Return a generation as its distance from the newest one, as mm.flush.Walk demands."""
        return self.newest[mm] - generation if self.names else generation

    def epoch(self, epoch: int) -> None:
        """Write what was postponed to the end of an epoch, as mm.flush.Walk demands."""
        out, oracle = self.out, self.oracle
        self.epochs[epoch] = len(self.epochs)
        visits, drops = oracle.promised[epoch]
        for slot, index, deny in visits:
            out += (slot, deny, len(oracle.versions[slot]) - index)
        out.append(-3)
        for slot, owner in drops:
            out += (slot, self.owner(owner))

    def own_state(self, w: World, state: X86State) -> None:
        """Write which masks are to be trimmed, and what the strategy has added to the state.

        Errors: ValueError if the strategy leaves out an epoch: two different worlds would become one.
        """
        out = self.out
        if state.trim_due:
            out += (_TRIM_DUE, state.trim_due)
        out.append(_OWN)
        before = len(out)
        w.flush_state.write(self, w.cpus)
        if len(out) == before:
            out.pop()
        if self.epochs.keys() != self.oracle.promised.keys():
            message = f"{type(w.flush_state).__name__}.write leaves out what is postponed to the end of an epoch"
            raise ValueError(message)

    def swap(self, w: World, oracle: Oracle) -> None:
        """Write the swap slots in use, which keep their numbers: which entries name one, where its content is, whose it
        is.
        """
        self.out.append(_SWAP)
        for slot in sorted(w.swap_map.keys() | w.swap_cache.keys()):
            frame = w.swap_cache.get(slot, -1)
            self.out += (slot, w.swap_map.get(slot, 0), self.frame(frame) if frame >= 0 else -1)
            self.out.append(self.value(w.swap[slot]) if slot in w.swap else -1)
            for mm in range(MMS):
                self.out.append(self.owner(oracle.swapped.get(slot * MMS + mm, -1)))
        self.out.append(-1)

    def pkeys(self, w: World) -> None:
        """Write the PKRU of each thread; a CPU has that of the thread that it runs."""
        self.out.append(_PKEYS)
        for distance in range(w.cpus):
            thread = (self.first + distance) % w.cpus * MMS
            self.out += [w.pkru.get(thread + mm, 0) for mm in range(MMS)]
