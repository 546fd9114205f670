"""Every run of a litmus test on the machine: all interleavings, and all that the hardware may do between two events.

Before each event each CPU may fill its TLB with what memory has for an address, or drop what it has.
The content of memory is sequentially consistent, an access is one step with its translation, and an access that
faults is tried again, as after a handler that found nothing to do.
At first every entry is accessed, and all of them are clean or all of them dirty; both are explored.
What a CPU has cached for an address does not matter if none of its later events uses the address, so it is left alone.
The same holds for an address that nothing remaps, unless the outcome asks which access walks: its translation is the
same whenever it is read.
The upper entry of the walk never changes, so each walk reads it anew.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from shootdown.conform.litmus.form import Atom, Event, Is, Kind, Litmus, Verdict, own_frame
from shootdown.machine.entry import ACCESSED, DIRTY, PRESENT, READ, RW, USER, WRITE
from shootdown.machine.geometry import FRAME_BITS, frame_of
from shootdown.machine.x86 import Machine

_ROOT: Final = 0
_TABLE: Final = 1
_FIRST_FRAME: Final = 2
_LEAF: Final = PRESENT | RW | USER

_Cached = tuple[tuple[tuple[int, int], ...], ...]
"""The TLB of each CPU, sorted."""
_Seen = tuple[int, int, int]
"""The result of an access: its frame, the number of the label that it read (0 for the first content), whether it
walked.
"""


class _World(NamedTuple):
    """All that a run has made so far."""

    done: tuple[int, ...]
    """How many events each CPU has executed."""
    entries: tuple[int, ...]
    contents: tuple[int, ...]
    cached: _Cached
    seen: tuple[_Seen | None, ...]
    """Indexed by the number of the label, minus one."""
    remapped: int
    """One bit for each address that a remap has stored to."""


class Shown(StrEnum):
    """How many of the runs of a test show its outcome."""

    ALL = "all"
    SOME = "some"
    NONE = "none"

    @property
    def verdict(self) -> Verdict:
        """Return "permitted" if any run shows the outcome, otherwise "forbidden"."""
        return Verdict.FORBIDDEN if self == Shown.NONE else Verdict.PERMITTED


class Explorer:
    """The runs of one test on one machine."""

    def __init__(
        self, litmus: Litmus, *, amd: bool = False, flush: bool = True, reduced: bool = True
    ) -> None:
        """Explore on a processor of Intel or of AMD.

        `flush`: if false, an invalidation keeps its place among the events, but drops nothing.
        `reduced`: if false, the hardware acts on every address.
        """
        self._flush = flush
        self._programs = litmus.programs
        self._pages = {address: page for page, address in enumerate(litmus.addresses)}
        frames = {own_frame(address) for address in litmus.addresses}
        frames |= {event.frame for event in litmus.events if event.frame}
        order = [own_frame(address) for address in litmus.addresses]
        order += sorted(frames - set(order))
        self._frames = {name: _FIRST_FRAME + at for at, name in enumerate(order)}
        labels = [event.label for event in litmus.events if event.label]
        self._labels = {"0": 0} | {label: at for at, label in enumerate(labels, 1)}
        self._outcome = litmus.outcome
        self._machine = Machine(len(litmus.programs), amd=amd)
        for cpu in range(len(litmus.programs)):
            self._machine.load_cr3(cpu, _ROOT, 0, noflush=True)
        self._machine.write_entry(_ROOT, 0, _LEAF | ACCESSED | FRAME_BITS[_TABLE])
        moved = {event.address for event in litmus.events if event.kind == Kind.REMAP}
        asked = {
            atom.subject for atoms in litmus.outcome for atom in atoms if atom.verb == Is.WALKS
        }
        moved |= {event.address for event in litmus.events if event.label in asked}
        self._acted = moved if reduced else set(litmus.addresses)

    def shown(self) -> Shown:
        """Return how many of the runs show the outcome."""
        lengths = tuple(len(program) for program in self._programs)
        found = {self._shows(world) for world in self._reached() if world.done == lengths}
        return Shown.SOME if len(found) == 2 else Shown.ALL if True in found else Shown.NONE

    def _reached(self) -> Iterator[_World]:
        first = [
            ACCESSED | _LEAF | FRAME_BITS[self._frames[own_frame(address)]]
            for address in self._pages
        ]
        empty = tuple(() for _ in self._programs)
        waiting = [
            _World(
                done=(0,) * len(self._programs),
                entries=tuple(entry | dirty for entry in first),
                contents=(0,) * len(self._frames),
                cached=empty,
                seen=(None,) * (len(self._labels) - 1),
                remapped=0,
            )
            for dirty in (0, DIRTY)
        ]
        visited = set(waiting)
        while waiting:
            world = waiting.pop()
            yield world
            for after in self._steps(world):
                if after not in visited:
                    visited.add(after)
                    waiting.append(after)

    def _steps(self, world: _World) -> Iterator[_World]:
        for cpu, program in enumerate(self._programs):
            rest = program[world.done[cpu] :]
            if not rest:
                continue
            if rest[0].kind != Kind.IPI or world.remapped >> self._pages[rest[0].address] & 1:
                yield self._execute(world, cpu, rest[0])
            for address in {event.address for event in rest if event.label} & self._acted:
                page = self._pages[address]
                self._restore(world)
                if page in self._machine.tlb[cpu]:
                    self._machine.evict(cpu, page)
                else:
                    self._machine.fill(cpu, page)
                yield self._saved(world)

    def _execute(self, world: _World, cpu: int, event: Event) -> _World:
        self._restore(world)
        machine = self._machine
        page = self._pages[event.address]
        seen = world.seen
        remapped = world.remapped
        if event.kind == Kind.REMAP:
            machine.write_entry(_TABLE, page, _LEAF | FRAME_BITS[self._frames[event.frame]])
            remapped |= 1 << page
        elif event.label:
            walks = int(page not in machine.tlb[cpu])
            entry = machine.access(cpu, page, WRITE if event.kind == Kind.WRITE else READ)
            if entry < 0:
                # The processor has dropped the entry that faulted; the event has yet to happen.
                return self._saved(world)
            frame = entry >> 8 & 63
            number = self._labels[event.label]
            if event.kind == Kind.WRITE:
                machine.memory[frame << 2] = number
            found = (frame, machine.memory[frame << 2], walks)
            seen = (*seen[: number - 1], found, *seen[number:])
        elif self._flush:
            machine.invlpg(cpu, page)
        done = (*world.done[:cpu], world.done[cpu] + 1, *world.done[cpu + 1 :])
        return self._saved(world)._replace(done=done, seen=seen, remapped=remapped)

    def _restore(self, world: _World) -> None:
        machine = self._machine
        machine.memory[_TABLE << 2 : (_TABLE << 2) + len(world.entries)] = world.entries
        for at, content in enumerate(world.contents, _FIRST_FRAME):
            machine.memory[at << 2] = content
        for cpu, cached in enumerate(world.cached):
            machine.tlb[cpu] = dict(cached)
            machine.psc[cpu].clear()

    def _saved(self, world: _World) -> _World:
        machine = self._machine
        after = len(self._frames) + _FIRST_FRAME
        return world._replace(
            entries=tuple(machine.memory[_TABLE << 2 : (_TABLE << 2) + len(world.entries)]),
            contents=tuple(machine.memory[_FIRST_FRAME << 2 : after << 2 : 4]),
            cached=tuple(tuple(sorted(tlb.items())) for tlb in machine.tlb),
        )

    def _shows(self, world: _World) -> bool:
        return any(all(self._holds(world, atom) for atom in atoms) for atoms in self._outcome)

    def _holds(self, world: _World, atom: Atom) -> bool:
        if atom.verb in {Is.MAPS, Is.DIRTY, Is.CLEAN}:
            entry = world.entries[self._pages[atom.subject]]
            if atom.verb == Is.MAPS:
                return frame_of(entry) == self._frames[atom.object]
            return bool(entry & DIRTY) == (atom.verb == Is.DIRTY)
        if atom.verb == Is.HOLDS:
            content = world.contents[self._frames[atom.subject] - _FIRST_FRAME]
            return content == self._labels[atom.object]
        frame, value, walked = self._of(world, atom.subject)
        match atom.verb:
            case Is.READS:
                return value == self._labels[atom.object]
            case Is.USES:
                return frame == self._frames[atom.object]
            case Is.SAME:
                return frame == self._of(world, atom.object)[0]
            case Is.DIFFERENT:
                return frame != self._of(world, atom.object)[0]
            case _:
                return bool(walked)

    def _of(self, world: _World, label: str) -> _Seen:
        found = world.seen[self._labels[label] - 1]
        assert found is not None, "every access of a finished run has been made"  # noqa: S101
        return found
