"""One key for all worlds that differ only in names, and for all that no run can tell apart.

Two worlds of one key have the same future, up to the names in it.
Renamed are: frames, in the order in which a walk over the world meets them; objects and stored values, likewise;
generations, by how far they are behind the newest; CPUs, by rotation, because acknowledgements begin at the sender and
go round.
Left out is what no run can show: costs, time, versions that no access may show any more, the age of a dead incarnation.
Not renamed are pages and address spaces: a range is worked through upwards and fork takes the lowest free space, so an
exchange of two of them is another world.

A frame is free to be renamed because the allocator knows none by its number (mm.frames).
With huge pages it does, by blocks; then frames keep their numbers.
"""

from array import array
from hashlib import blake2b
from typing import Final

from fuzz.oracle import Oracle
from machine.entry import EXEC, PRESENT, PSE, READ, WRITE
from machine.geometry import FANOUT, FRAME_BITS, FRAMES, PAGES, TABLES, frame_of
from machine.x86 import POISON_ALLOC, POISON_FREE
from mm.step import TAKES
from mm.world import MMS, World
from optimized.state import X86State

_NO_FRAME: Final = ~FRAME_BITS[FRAMES - 1]
_UNNAMED: Final = -1


class Canonical:
    """A walk over one world, from one CPU on."""

    __slots__ = ("first", "frames", "memory", "named", "out", "owner_names", "owners", "values")

    def __init__(self, w: World, oracle: Oracle, first: int, *, huge: bool) -> None:
        self.first = first
        self.memory = w.machine.memory
        self.out: list[int] = []
        self.named: list[int] = [_UNNAMED] * FRAMES
        self.frames: list[int] = []
        self.owner_names: dict[int, int] = {}
        self.owners: list[int] = []
        self.values: dict[int, int] = {0: 0, POISON_FREE: 1, POISON_ALLOC: 2}
        state: X86State = w.flush_state
        if huge:
            for frame in range(FRAMES):
                self.frame(frame)
        self.frame(0)
        self.owner(0)
        for distance in range(w.cpus):
            self._cpu(w, state, (first + distance) % w.cpus)
        tables = self._spaces(w, oracle, state)
        for frame in w.shared:
            self.out.append(self.frame(frame) if frame >= 0 else -1)
        for distance in range(w.cpus):
            self._promises(oracle, (first + distance) % w.cpus, distance)
        self._contents(w, oracle, tables)
        self._free(w)

    def frame(self, frame: int) -> int:
        """Return the name of a frame, a new one when it has none."""
        name = self.named[frame]
        if name < 0:
            name = self.named[frame] = len(self.frames)
            self.frames.append(frame)
        return name

    def owner(self, owner: int) -> int:
        """Return the name of an object, a new one when it has none; that of no object is -1."""
        if owner < 0:
            return -1
        name = self.owner_names.get(owner, -1)
        if name < 0:
            name = self.owner_names[owner] = len(self.owners)
            self.owners.append(owner)
        return name

    def value(self, value: int) -> int:
        """Return the name of a stored value: only whether two are equal matters."""
        name = self.values.get(value, -1)
        if name < 0:
            name = self.values[value] = len(self.values)
        return name

    def entry(self, entry: int) -> None:
        """Write a page-table entry with its frame renamed."""
        out = self.out
        if not entry:
            out.append(0)
            return
        flags = entry & _NO_FRAME
        out.append(flags - (1 << 64) if flags >> 63 else flags)
        out.append(self.frame(frame_of(entry)))

    def _cpu(self, w: World, state: X86State, cpu: int) -> None:
        out = self.out
        machine = w.machine
        generation = machine.generation
        stack = w.steps[cpu]
        out.append(len(stack))
        for s in stack:
            takes = TAKES[s[0]]
            if takes:
                self._step(w, state, s, takes)
            else:
                out.extend(s)
        out += (w.task_mm[cpu], w.loaded_mm[cpu], w.lazy[cpu], w.irqs_off[cpu])
        root = machine.cr3[cpu]
        out.append(self.frame(root) if root >= 0 else -1)
        out.append(machine.pcid[cpu])
        tlb = machine.tlb[cpu]
        out.append(len(tlb))
        for key in sorted(tlb):
            cached = tlb[key]
            frame = cached >> 8 & 63
            out += (key, cached & 0xFF, self.frame(frame))
            for i in range(FANOUT if key & 8 else 1):
                out.append(cached >> 14 == generation[frame + i])
        psc = machine.psc[cpu]
        out.append(len(psc))
        for key in sorted(psc):
            out.append(key)
            self.entry(psc[key])
        out += (state.asid[cpu], state.next_asid[cpu])
        for slot, mm in enumerate(state.ctx_mm[cpu]):
            out.append(mm)
            if mm >= 0:
                out.append(state.tlb_gen[mm] - state.ctx_gen[cpu][slot])
        gather = state.gathers[cpu]
        if gather is None:
            out.append(-1)
        else:
            out += (gather.mm, gather.start, gather.end, gather.freed_tables, len(gather.pages))
            out += [self.frame(frame) for frame in gather.pages]
            out.append(len(gather.tables))
            for index, frame in gather.tables:
                out += (index, self.frame(frame))
        deferred = state.deferred[cpu]
        out.append(len(deferred))
        for ranges in deferred:
            out.extend(ranges)

    def _step(self, w: World, state: X86State, s: tuple[int, ...], takes: tuple[str, ...]) -> None:
        out = self.out
        out.append(s[0])
        mm = 0
        for value, what in zip(s[1:], takes, strict=True):
            if what == "entry":
                self.entry(value)
            elif what == "frame":
                out.append(self.frame(value))
            elif what == "cpu":
                out.append((value - self.first) % w.cpus)
            elif what == "generation":
                out.append(state.tlb_gen[mm] - value)
            else:
                if what == "mm":
                    mm = value
                out.append(value)

    def _spaces(self, w: World, oracle: Oracle, state: X86State) -> set[int]:
        """Write the address spaces and return the frames that are page tables."""
        out = self.out
        memory = self.memory
        first, cpus = self.first, w.cpus
        tables: set[int] = set()
        for gather in state.gathers:
            if gather is not None:
                for _, frame in gather.tables:
                    tables.add(frame)
        for mm, root in enumerate(w.root):
            if root < 0:
                out.append(-1)
                continue
            tables.add(root)
            out += (self.frame(root), w.live[mm], w.mmap_lock[mm])
            out += w.vma[mm]
            for holder in (w.pmd_lock[mm], w.ptl[mm * TABLES], w.ptl[mm * TABLES + 1]):
                out.append((holder - first) % cpus if holder >= 0 else -1)
            mask = state.cpumask[mm]
            out.append((mask >> first | mask << cpus - first) & (1 << cpus) - 1)
            out += (state.pending[mm], state.batched[mm] - state.batched_flushed[mm])
            for index in range(TABLES):
                upper = memory[root << 2 | index]
                self.entry(upper)
                if upper & (PRESENT | PSE) == PRESENT:
                    frame = frame_of(upper)
                    tables.add(frame)
                    for i in range(FANOUT):
                        self.entry(memory[frame << 2 | i])
            for slot in range(mm * PAGES, mm * PAGES + w.pages):
                out += (oracle.region_rights[slot], oracle.armed[slot])
                self._versions(oracle, slot)
        return tables

    def _versions(self, oracle: Oracle, slot: int) -> None:
        """Write the versions that an access may still show, the newest first, with the kinds that may show each."""
        out = self.out
        versions = oracle.versions[slot]
        last = versions[-1]
        out.append(last & 7)
        if last:
            out += (self.frame(last >> 3 & 63), self.owner(last >> 24))
        for _, version in self.alive(oracle, slot):
            out += (version & 7, self.frame(version >> 3 & 63), self.owner(version >> 24))
        out.append(-1)

    def alive(self, oracle: Oracle, slot: int) -> list[tuple[int, int]]:
        """Return the older versions that explain something, with their positions, the newest first.

        A version explains nothing that its frame's present incarnation, a newer version or a floor takes from it.
        """
        versions = oracle.versions[slot]
        readable = oracle.floor[READ][slot]
        writable = oracle.floor[WRITE][slot]
        executable = oracle.floor[EXEC][slot]
        index = len(versions) - 1
        lowest = min(readable, writable, executable)
        found: list[tuple[int, int]] = []
        if index <= lowest:
            return found
        generation = oracle.generation
        last = versions[index]
        covered = {last >> 3 & 0x1FFFFF: last & 7}
        while index > lowest:
            index -= 1
            version = versions[index]
            grants = version & 7
            if not grants:
                continue
            place = version >> 3 & 0x1FFFFF
            if generation[place & 63] != place >> 6:
                continue
            if index < readable:
                grants &= ~READ
            if index < writable:
                grants &= ~WRITE
            if index < executable:
                grants &= ~EXEC
            old = covered.get(place, 0)
            grants &= ~old
            if grants:
                covered[place] = old | grants
                found.append((index, version & ~7 | grants))
        return found

    def _promises(self, oracle: Oracle, cpu: int, distance: int) -> None:
        """Write what the operation in flight on a CPU will deny when it closes."""
        out = self.out
        for slot, index, deny in oracle.visits[cpu]:
            kept = 0
            denied = False
            for at, version in self.alive(oracle, slot):
                if at >= index:
                    kept += 1
                elif version & deny:
                    denied = True
            if denied:
                out += (distance, slot, kept, deny)
        freed = oracle.open_free[cpu]
        if freed:
            out.extend(sorted({self.owner(owner) for owner in freed}))
        out.append(-1)

    def _contents(self, w: World, oracle: Oracle, tables: set[int]) -> None:
        """Write what is known of each named frame and object; each may name further ones."""
        out = self.out
        frame_at = owner_at = 0
        while frame_at < len(self.frames) or owner_at < len(self.owners):
            if frame_at < len(self.frames):
                frame = self.frames[frame_at]
                frame_at += 1
                if w.free_frames >> frame & 1:
                    out.append(-1)
                    continue
                out.append(
                    w.refs[frame] << 2 | (w.lazy_free >> frame & 1) << 1 | w.page_lock >> frame & 1
                )
                if frame not in tables:
                    out.append(self.value(self.memory[frame << 2]))
                    for owner in oracle.objects[frame * MMS : frame * MMS + MMS]:
                        out.append(self.owner(owner))
                    out.append(self.owner(oracle.shared_object[frame]))
            else:
                owner = self.owners[owner_at]
                owner_at += 1
                home = oracle.home[owner]
                out += (
                    self.value(oracle.shadow[owner]),
                    self.frame(home) if home >= 0 else -1,
                    oracle.last_store[owner] <= oracle.freed_upto[owner],
                )

    def _free(self, w: World) -> None:
        """Write the freed frames in the order of their reuse; one that nothing names is as good as a fresh one."""
        last = len(self.out)
        for frame in reversed(w.freed):
            name = self.named[frame]
            self.out.append(name)
            if name >= 0:
                last = len(self.out)
        del self.out[last:]


def key_of(w: World, oracle: Oracle, *, rename_cpus: bool = True, huge: bool = False) -> int:
    """Return a hash of 64 bits, of which the highest 59 count, of a world between two steps and its history; renamings
    leave it as it is.

    `huge`: there may be huge pages, so frames keep their numbers.
    """
    starts = _starts(w) if rename_cpus else [0]
    best = min(array("q", Canonical(w, oracle, first, huge=huge).out).tobytes() for first in starts)
    return int.from_bytes(blake2b(best, digest_size=8).digest(), "little") | 16


def _starts(w: World) -> list[int]:
    """Return the CPUs from which a walk may begin: those whose rotation of some cheap facts is the least."""
    cpus = w.cpus
    if cpus == 1:
        return [0]
    facts = [
        (
            [s[0] for s in w.steps[cpu]],
            w.task_mm[cpu],
            sorted(key << 8 | cached & 0xFF for key, cached in w.machine.tlb[cpu].items()),
        )
        for cpu in range(cpus)
    ]
    rotations = [facts[first:] + facts[:first] for first in range(cpus)]
    least = min(rotations)
    return [first for first in range(cpus) if rotations[first] == least]
