"""One key for all worlds that differ only in names, or that no run can tell apart.

Two worlds with the same key have the same future, up to the names. A walk over a world gives names to its parts as it
meets them. The key renames frames, objects and stored values; generations, by their distance from the newest; and CPUs,
by rotation, because acknowledgements begin at the sender and go round. The key leaves out what no run can show: costs,
time, versions that no access may show any more, the age of a dead incarnation. The key does not rename pages and
address spaces: an operation goes through a range upwards and fork takes the lowest free space, so exchanging two of
them gives another world. The same holds for swap slots, because the lowest free slot is taken.

The state of a strategy that is opaque, such as the memory of a kernel's own text, may depend on any number: then frames
and CPUs keep theirs, and the state writes itself as it is.

A frame can be renamed because the allocator knows no frame by its number (mm.frames). With huge pages the allocator
knows blocks by number, so frames keep their numbers.
"""

from hashlib import blake2b
from typing import Final

from shootdown.machine.entry import PRESENT, PSE
from shootdown.machine.geometry import FANOUT, FRAMES, PAGES, TABLES, frame_of
from shootdown.mm.state import MMS, POKING_MM, SWITCHING, WRITER
from shootdown.mm.world import World
from shootdown.optimized.state import FIRST_GLOBAL, X86State
from shootdown.prove.alive import explaining
from shootdown.prove.packing import CPU, ENTRY, FRAME, GENERATION, MM, TABLE, arguments_of, packed
from shootdown.prove.promises import Promises
from shootdown.prove.rotation import FIRST, starts_of
from shootdown.prove.sparse import Sparse, state_of
from shootdown.prove.widths import (
    ACCESS,
    ASID,
    COUNT,
    DEFERRED,
    FLAG,
    FRAME_OR_NONE,
    HOLDER,
    LOADED,
    MASK,
    NEXT_ASID,
    OWNERS,
    PCID,
    READERS,
    RIGHTS,
    SLOT,
    TLB_FLAGS,
    UPPERS,
)
from shootdown.prove.widths import FRAME as FRAME_WIDTH
from shootdown.prove.widths import MM as MM_WIDTH
from shootdown.reference.history import ONCE_MAPPED
from shootdown.run.oracle import Oracle

_IS_FREE: Final = -1 << 31


class Canonical(Sparse):
    """A walk over one world, starting at one CPU.

    `out`: the world as small integers; facts with few values share one integer, and the length of a list precedes it.
    """

    __slots__ = ("_alive", "memory", "unhooked")

    def __init__(self, w: World, oracle: Oracle, first: int, *, names: bool, huge: bool) -> None:
        super().__init__(w, oracle, first, names=names, number_frames=huge or not names)
        self.memory = w.machine.memory
        # Frames of page tables that only their operation still names, one bit each.
        self.unhooked = 0
        self._alive: dict[int, list[tuple[int, int]]] = {}
        state = state_of(w)
        cpus = w.cpus
        for distance in range(cpus):
            self._cpu(w, state, (first + distance) % cpus)
        tables = self._spaces(w, oracle, state)
        for page in range(w.pages):
            frame = w.shared[page]
            self.out.append(self.frame(frame) if frame >= 0 else -1)
        if w.rmap or w.file_frames or w.disk or oracle.file_objects:
            self.file(w, oracle)
        if w.huge_zero >= 0:
            self.huge_zero(w)
        if w.i_mmap or w.driver or w.i_mmap_lock:
            self.driver(w)
        if state.last_global >= FIRST_GLOBAL or any(w.machine.issued):
            self.broadcasts(w, state)
        self.own_state(w, state)
        if w.swap_map or w.swap_cache:
            self.swap(w, oracle)
        if w.pkru:
            self.pkeys(w)
        for distance in range(cpus):
            self._promises(oracle, (first + distance) % cpus, distance)
        for slot in sorted(oracle.emptied):
            alive = self.alive(oracle, slot)
            kept = sum(at >= oracle.emptied[slot] for at, _ in alive)
            if kept < len(alive):
                self.out += (-5, slot, kept)
        for slot in sorted(oracle.dropped):
            owner = oracle.dropped[slot]
            if oracle.lives(owner):
                self.out += (-3, slot, self.owner(owner))
        Promises(oracle.contract, self, cpus).write(w)
        self._contents(w, oracle, tables)
        self._free(w)
        if not names:
            # The names that are given next.
            self.out += (w.stamp, len(oracle.shadow), *state.tlb_gen)

    def _cpu(self, w: World, state: X86State, cpu: int) -> None:
        out = self.out
        machine = w.machine
        generation = machine.generation
        stack = w.steps[cpu]
        tlb = machine.tlb[cpu]
        psc = machine.psc[cpu]
        root = machine.cr3[cpu]
        gather = state.gathers[cpu]
        deferred = state.deferred[cpu]
        unmap_mask = state.unmap_mask[cpu]
        context = w.task_mm[cpu] - SWITCHING << LOADED | w.loaded_mm[cpu] - POKING_MM
        context = context << FLAG | w.kthread[cpu]
        context = (context << FLAG | w.lazy[cpu]) << FLAG | w.irqs_off[cpu]
        context = context << FRAME_OR_NONE | (self.frame(root) if root >= 0 else FRAMES)
        context = context << PCID | machine.pcid[cpu]
        out.append((context << ASID | state.asid[cpu]) << NEXT_ASID | state.next_asid[cpu])
        counts = (len(stack) << COUNT | len(tlb)) << UPPERS | len(psc)
        counts = counts << DEFERRED | len(deferred)
        out.append((counts << FLAG | (unmap_mask != 0)) << FLAG | (gather is not None))
        if unmap_mask:
            out.append(self.turned(unmap_mask, w.cpus))
        for s in stack:
            takes = arguments_of(s[0])
            if takes:
                self._step(w, state, s, takes)
            else:
                out.extend(s)
        for key in sorted(tlb):
            cached = tlb[key]
            frame = cached >> 8 & 63
            fact = (key << TLB_FLAGS | cached & 0xFF) << FRAME_WIDTH | self.frame(frame)
            if not self.names:
                out.append(cached >> 14)
            for i in range(FANOUT if key & 8 else 1):
                fact = fact << FLAG | (cached >> 14 == generation[frame + i])
            out.append(fact)
        for key in sorted(psc):
            out += (key, self.entry(psc[key]))
        ctx_gen = state.ctx_gen[cpu]
        for slot, mm in enumerate(state.ctx_mm[cpu]):
            if mm < 0:
                out.append(-1)
            elif self.names:
                out.append((state.tlb_gen[mm] - ctx_gen[slot]) << MM_WIDTH | mm)
            else:
                out += (mm, state.tlb_gen[mm], ctx_gen[slot])
        if gather is not None:
            out += (
                gather.mm,
                gather.start,
                gather.end,
                gather.freed_tables << FLAG | gather.strict,
                len(gather.pages),
            )
            for frame in gather.pages:
                out.append(self.frame(frame))
            out.append(len(gather.tables))
            for index, frame in gather.tables:
                self.unhooked |= 1 << frame
                out += (index, self.frame(frame))
        for ranges in deferred:
            out.extend(ranges)

    def _step(self, w: World, state: X86State, s: tuple[int, ...], takes: list[int]) -> None:
        out = self.out
        out.append(s[0])
        mm = 0
        for i, what in enumerate(takes):
            value = s[i + 1]
            if what == ENTRY:
                value = self.entry(value)
            elif what == FRAME:
                value = self.frame(value)
            elif what == CPU:
                value = (value - self.first) % w.cpus
            elif what == GENERATION:
                if self.names:
                    value = state.tlb_gen[mm] - value
            elif what == MM:
                mm = value
            elif what == TABLE:
                # The operation reads its entries, and so do walks through a cached upper entry.
                if not self.unhooked >> value & 1:
                    self.unhooked |= 1 << value
                    out += map(self.entry, self.memory[value << 2 : (value << 2) + FANOUT])
                value = self.frame(value)
            out.append(value)

    def _spaces(self, w: World, oracle: Oracle, state: X86State) -> int:
        """Write the address spaces, and return the frames that are page tables, one bit each."""
        out = self.out
        memory = self.memory
        first, cpus = self.first, w.cpus
        tables = self.unhooked
        out.append(len(w.gone) << FLAG | (w.poking >= 0))
        if w.poking >= 0:
            table = frame_of(memory[w.poking << 2])
            tables |= 1 << w.poking | 1 << table
            out += (
                self.frame(w.poking),
                self.frame(table),
                self.frame(frame_of(memory[table << 2])),
            )
        for mm, root in w.gone:
            tables |= 1 << root
            out += (mm, self.frame(root))
        for mm, root in enumerate(w.root):
            if root < 0:
                out.append(-1)
                continue
            tables |= 1 << root
            facts = (w.mmap_lock[mm] - WRITER) << FRAME_WIDTH | self.frame(root)
            out.append((facts << FLAG | oracle.tracked[mm]) << FLAG | w.live[mm])
            locks = 0
            for holder in (w.pmd_lock[mm], *w.ptl[mm * TABLES : (mm + 1) * TABLES]):
                locks = locks << HOLDER | ((holder - first) % cpus + 1 if holder >= 0 else 0)
            out += (
                locks << MASK | self.turned(state.cpumask[mm], cpus),
                state.pending[mm],
                state.batched[mm] - state.batched_flushed[mm],
            )
            if not self.names:
                out.append(state.batched[mm])
            out.append(w.vma_written[mm])
            for index in range(TABLES):
                upper = memory[root << 2 | index]
                out.append(self.entry(upper))
                if upper & (PRESENT | PSE) == PRESENT:
                    frame = frame_of(upper)
                    tables |= 1 << frame
                    for at in range(frame << 2, (frame << 2) + FANOUT):
                        out.append(self.entry(memory[at]))
            regions = w.vma[mm]
            for page in range(w.pages):
                slot = mm * PAGES + page
                region = regions[page] << READERS | w.vma_readers.get(slot, 0)
                region = region << RIGHTS | oracle.region_rights[slot] + 1
                out.append(region << FLAG | (oracle.armed[slot] != 0))
                self._versions(oracle, slot)
        return tables

    def _versions(self, oracle: Oracle, slot: int) -> None:
        """Write the versions that an access may still show, the newest first, with the kinds that may show each."""
        out = self.out
        last = oracle.versions[slot][-1]
        out.append(self.version(last) if last else 0)
        alive = self.alive(oracle, slot)
        out.append(len(alive))
        for _, version in alive:
            out.append(self.version(version))

    def alive(self, oracle: Oracle, slot: int) -> list[tuple[int, int]]:
        """Return prove.alive.explaining(oracle, slot), computed once."""
        known = self._alive.get(slot)
        if known is None:
            known = self._alive[slot] = explaining(oracle, slot)
        return known

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
                out += ((distance << SLOT | slot) << ACCESS | deny, kept)
                if deny & ONCE_MAPPED:
                    out.append(oracle.shows_content(slot, index))
        freed = oracle.open_free.get(cpu)
        if freed:
            out.append(-2)
            out.extend(sorted({self.owner(owner) for owner in freed}))
        out += [-7 - oracle.grabs[cpu]] if cpu in oracle.grabs else []
        out += [-9] if oracle.explained >> cpu & 1 else []
        out += [-11] if oracle.contract.explained >> cpu & 1 else []
        for slot in oracle.promotions.get(cpu, ()):
            out += (-10, slot)
        out += [-4 - oracle.open_tracking[cpu]] if cpu in oracle.open_tracking else []
        for slot, owner in oracle.open_drop.get(cpu, ()):
            out += (-3, slot, self.owner(owner))
        out.append(-1)

    def _contents(self, w: World, oracle: Oracle, tables: int) -> None:
        """Write what is known of each named frame and object; each may lead to further names."""
        out = self.out
        frames, owners = self.frames, self.owners
        free, lazy_free, page_lock = w.free_frames, w.lazy_free, w.page_lock
        misplaced, merged = w.misplaced, w.merged
        objects = oracle.objects
        frame_at = owner_at = 0
        while True:
            if frame_at < len(frames):
                frame = frames[frame_at]
                frame_at += 1
                if not self.names:
                    out.append(w.machine.generation[frame])
                if free >> frame & 1:
                    out.append(_IS_FREE)
                    continue
                fact = w.refs[frame] << FLAG | merged >> frame & 1
                fact = fact << FLAG | misplaced >> frame & 1
                fact = fact << FLAG | lazy_free >> frame & 1
                fact = fact << FLAG | page_lock >> frame & 1
                if w.file_frames:
                    fact = fact << FLAG | oracle.being_cleaned >> frame & 1
                    fact = fact << FLAG | w.dirty >> frame & 1
                    fact = fact << FLAG | w.file_frames >> frame & 1
                if tables >> frame & 1:
                    out.append(fact)
                    continue
                shared = oracle.shared_object[frame]
                mapped = int(shared >= 0)
                for owner in objects[frame * MMS : frame * MMS + MMS]:
                    mapped = mapped << FLAG | (owner >= 0)
                out += (fact << FLAG + OWNERS | mapped, self.value(self.memory[frame << 2]))
                if mapped:
                    for owner in objects[frame * MMS : frame * MMS + MMS]:
                        if owner >= 0:
                            out.append(self.owner(owner))
                    if oracle.joined:
                        for at in range(frame * MMS, frame * MMS + MMS):
                            out.append(oracle.joined.get(at, -1))
                    if shared >= 0:
                        out.append(self.owner(shared))
            elif owner_at < len(owners):
                owner = owners[owner_at]
                owner_at += 1
                home = oracle.home[owner]
                given_up = oracle.last_store[owner] <= oracle.freed_upto[owner]
                name = self.frame(home) if home >= 0 else home
                out += (self.value(oracle.shadow[owner]), name << FLAG | given_up)
            else:
                return

    def _free(self, w: World) -> None:
        """Write the freed frames in the order of their reuse; a frame without a name counts as a fresh one."""
        last = len(self.out)
        for frame in reversed(w.freed):
            name = self.named[frame]
            self.out.append(name)
            if name >= 0:
                last = len(self.out)
        del self.out[last:]


def key_of(
    w: World, oracle: Oracle, *, names: bool = True, rename_cpus: bool = True, huge: bool = False
) -> int:
    """Return a hash of 64 bits, of which the highest 59 count, for a world between two steps and its history.

    Renaming does not change the hash.
    `names`, `rename_cpus`: whether everything except CPUs, and whether CPUs, may be renamed.
    `huge`: huge pages are possible, so frames keep their numbers.
    CPUs and frames keep their numbers as well if the state of the strategy is opaque (mm.flush.FlushState).
    """
    if w.flush_state.opaque:
        rename_cpus, huge = False, True
    if oracle.contract.waiting:
        oracle.contract.start_waiting()
    starts = starts_of(w) if rename_cpus else FIRST
    best = packed(Canonical(w, oracle, starts[0], names=names, huge=huge).out)
    for first in starts[1:]:
        best = min(best, packed(Canonical(w, oracle, first, names=names, huge=huge).out))
    return int.from_bytes(blake2b(best, digest_size=8).digest(), "little") | 16
