"""One sequence of events on the machine and on QEMU's MMU, event by event, until they differ.

EXACT: the sequence has one outcome. The machine gets what QEMU is: AMD's walk before a fault, no upper cache, WRPKRU
that drops everything. Each access must have that outcome, so this finds what the machine wrongly allows too.

MAY_DROP: any entry may have been dropped at any time, as on every processor (SDM vol. 3A 4.10.2.3), and QEMU drops more
than the machine, which drops nothing by itself. What is held are all states of the caches that fit what was seen, each
standing for itself and for what is left when some of its entries are dropped. So an access is tried from each state,
with each part of the entries that it can meet dropped before; what shows the same as QEMU goes on. If nothing is left,
the two disagree.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from fuzz.conform.qemu.events import (
    ACCESS,
    INVLPG,
    INVPCID_ALL,
    INVPCID_CONTEXT,
    INVPCID_PAGE,
    LOAD_CR3,
    STORE,
    WRPKRU,
    Event,
    Shape,
    entry_text,
)
from fuzz.conform.qemu.known import (
    CODE_MEMORY,
    LARGE_REGION,
    NO_GLOBALS,
    NO_UPPER_CACHE,
    WALKS_AGAIN,
    WRPKRU_DROPS,
)
from fuzz.conform.qemu.processors import Processors
from machine.caches import FETCH, GLOBAL_TAG, TAG_MASK, UPPER
from machine.entry import DIRTY, EXEC, PSE, WRITE
from machine.geometry import FANOUT, FRAMES
from machine.pkru import denies
from machine.tlb_entry import tlb_grants, tlb_key
from machine.x86 import Machine

EXACT: Final = "exact"
MAY_DROP: Final = "may-drop"
MODES: Final = (EXACT, MAY_DROP)

OUTCOME: Final = "outcome"
MEMORY: Final = "A and D"
ADDRESS: Final = "CR2"
UNNAMED: Final = "dropped without a known cause"
STRAY: Final = "a store beside the tables"


class Setting(NamedTuple):
    """How a sequence is made and compared: the machine's switches, and what its events may use."""

    mode: str
    shape: Shape
    amd: bool = True
    split_tlb: bool = False
    fractured: bool = False

    def __str__(self) -> str:
        switches = ("amd", "split_tlb", "fractured")
        return " ".join([self.mode, *(name for name in switches if getattr(self, name))])


class Difference(NamedTuple):
    """The first event of which QEMU's MMU shows something else: its position, and what each shows."""

    at: int
    what: str
    machine: str
    qemu: str


class Compared(NamedTuple):
    """How many events and accesses agreed, what QEMU's known deviations explain of these, and the first difference."""

    events: int
    accesses: int
    explained: Counter[str]
    difference: Difference | None


def compare(
    events: Sequence[Event], setting: Setting, machine_type: type[Machine] = Machine
) -> Compared:
    """Run events on both sides up to the first difference. Error: MmuError."""
    machine = machine_type(
        setting.shape.cpus,
        amd=setting.amd,
        split_tlb=setting.split_tlb,
        fractured=setting.fractured,
    )
    machine.memory = [0] * (FRAMES * FANOUT)
    qemu = Processors(setting.shape.cpus)
    try:
        side = _Exact(machine, qemu) if setting.mode == EXACT else _MayDrop(machine, qemu, setting)
        accesses = 0
        for at, event in enumerate(events):
            if event.kind == STORE:
                side.store(event)
                continue
            accesses += event.kind == ACCESS
            found = side.apply(event)
            if found is not None:
                return Compared(at, accesses, side.explained, Difference(at, *found))
        if not qemu.is_clean():
            last = len(events) - 1
            stray = Difference(last, STRAY, "the walk's entries alone", "another word")
            return Compared(last, accesses, side.explained, stray)
        return Compared(len(events), accesses, side.explained, None)
    finally:
        qemu.close()


Found = tuple[str, str, str]
"""What differs, and what the machine and QEMU show."""


def _on_machine(machine: Machine, event: Event) -> None:
    """Execute an event that is no access."""
    kind, cpu, first, second, third = event
    if kind == INVLPG:
        machine.invlpg(cpu, first)
    elif kind == INVPCID_PAGE:
        machine.invpcid_page(cpu, first, second)
    elif kind == INVPCID_CONTEXT:
        machine.invpcid_context(cpu, first)
    elif kind == INVPCID_ALL:
        machine.invpcid_all(cpu, globals_too=bool(first))
    elif kind == LOAD_CR3:
        machine.load_cr3(cpu, first, second, noflush=bool(third))
    elif kind == WRPKRU:
        machine.pkru[cpu] = first
    else:
        machine.toggle_pge(cpu)


def _on_qemu(qemu: Processors, event: Event) -> None:
    """Execute an event that is no access."""
    kind, cpu, first, second, third = event
    if kind == INVLPG:
        qemu.invlpg(cpu, first)
    elif kind == INVPCID_PAGE:
        qemu.invpcid_page(cpu, first, second)
    elif kind == INVPCID_CONTEXT:
        qemu.invpcid_context(cpu, first)
    elif kind == LOAD_CR3:
        qemu.load_cr3(cpu, first, second, noflush=bool(third))
    elif kind == WRPKRU:
        qemu.write_pkru(cpu, first)
    else:
        qemu.drop_all(cpu)


class _Side:
    """What both modes have: the machine, QEMU's processors, and the memory of each."""

    def __init__(self, machine: Machine, qemu: Processors) -> None:
        self.machine = machine
        self.qemu = qemu
        self.memory = machine.memory.copy()
        """QEMU's."""
        self.explained: Counter[str] = Counter()

    def store(self, event: Event) -> None:
        """Store an entry in both memories."""
        _, _, frame, index, entry = event
        self.machine.write_entry(frame, index, entry)
        self.memory[frame << 2 | index] = entry

    def apply(self, event: Event) -> Found | None:
        """Execute an event on both sides, and return what differs."""
        raise NotImplementedError

    def _access_qemu(self, event: Event) -> int:
        return self.qemu.access(
            event.cpu, event.first, event.second, self.memory, twice=bool(event.third)
        )

    def _bad_address(self, event: Event, shown: int) -> Found | None:
        address = self.qemu.fault_address(event.cpu)
        if shown < 0 and address != event.first:
            return ADDRESS, f"p{event.first}", f"p{address}" if address >= 0 else "elsewhere"
        return None


class _Exact(_Side):
    """The sequence has one outcome."""

    def apply(self, event: Event) -> Found | None:
        machine = self.machine
        cpu = event.cpu
        if event.kind == ACCESS:
            # QEMU has no upper cache (known.NO_UPPER_CACHE).
            machine.evict(cpu, event.first, UPPER)
            met = machine.tlb[cpu].get(machine.pcid[cpu] << 4 | event.first, DIRTY)
            entry = machine.access(cpu, event.first, event.second)
            if event.second == WRITE and entry >= 0 and not met & DIRTY:
                # The walk that sets D has made QEMU's entry anew (known.REPAIRED).
                machine.evict(cpu, event.first)
                machine.fill(cpu, event.first)
            mine = entry >> 8 & FRAMES - 1 if entry >= 0 else entry
            shown = self._access_qemu(event)
            if mine != shown:
                return OUTCOME, words(mine), words(shown)
            found = self._bad_address(event, shown)
            if found is not None:
                return found
        else:
            _on_machine(machine, event)
            _on_qemu(self.qemu, event)
            if event.kind == WRPKRU:
                machine.toggle_pge(cpu)
        if machine.memory != self.memory:
            return MEMORY, *_different_words(machine.memory, self.memory)
        return None


class _State(NamedTuple):
    """What a processor may have cached, or any part of it."""

    tlb: dict[int, int]
    psc: dict[int, int]

    def within(self, other: "_State") -> bool:
        """Return whether dropping entries makes this one of the other."""
        return self.tlb.items() <= other.tlb.items() and self.psc.items() <= other.psc.items()


class _MayDrop(_Side):
    """Everything may have been dropped.

    The memory is the same in all states that are left, because it was compared; so they differ in the caches, and those
    of one processor have nothing to do with those of another: `states` has them for each.
    """

    def __init__(self, machine: Machine, qemu: Processors, setting: Setting) -> None:
        super().__init__(machine, qemu)
        self.split = setting.split_tlb
        self.states = [[_State({}, {})] for _ in range(setting.shape.cpus)]
        self.loose: list[dict[tuple[int, int], str]] = [{} for _ in self.states]
        """Of each processor the entries, by key, that QEMU has or may have dropped for a known reason, and which."""
        self.large: list[set[int]] = [set() for _ in self.states]
        """The PCIDs in which a leaf of 2 MiB was cached since the last full flush."""
        # Where no state has a global entry yet, to look for one changes nothing.
        machine.has_global = True

    def apply(self, event: Event) -> Found | None:
        if event.kind == ACCESS:
            return self._access(event)
        machine = self.machine
        cpu = event.cpu
        pcid = machine.pcid[cpu]
        _on_qemu(self.qemu, event)
        if event.kind == INVLPG:
            self._loosen_large(cpu, pcid)
            self._loosen_elsewhere(cpu, pcid, event.first)
        elif event.kind == INVPCID_PAGE:
            self._loosen_large(cpu, event.first)
        elif event.kind == WRPKRU:
            self._loosen(cpu, range(TAG_MASK + 1), WRPKRU_DROPS)
            self.large[cpu].clear()
        elif event.kind == INVPCID_CONTEXT:
            self.large[cpu].discard(event.first)
        elif event.kind == LOAD_CR3:
            if not event.third:
                self.large[cpu].discard(event.second)
        else:
            self.large[cpu].clear()
        left = []
        for state in self.states[cpu]:
            machine.tlb[cpu], machine.psc[cpu] = state.tlb, state.psc
            _on_machine(machine, event)
            left.append(_State(machine.tlb[cpu], machine.psc[cpu]))
        self.states[cpu] = _widest(left)
        if machine.memory != self.memory:
            return MEMORY, *_different_words(machine.memory, self.memory)
        return None

    def _access(self, event: Event) -> Found | None:
        cpu, page = event.cpu, event.first
        machine = self.machine
        before = self.memory.copy()
        shown = self._access_qemu(event)
        found = self._bad_address(event, shown)
        if found is not None:
            return found
        left: list[_State] = []
        names: list[frozenset[str]] = []
        plain: tuple[int, list[int]] | None = None
        unnamed = False
        for state in self.states[cpu]:
            for dropped in self._parts(state, event):
                tlb = {key: entry for key, entry in state.tlb.items() if key not in dropped}
                psc = {key: entry for key, entry in state.psc.items() if ~key not in dropped}
                machine.tlb[cpu], machine.psc[cpu] = tlb, psc
                machine.memory = before.copy()
                entry = machine.access(cpu, page, event.second)
                mine = entry >> 8 & FRAMES - 1 if entry >= 0 else entry
                if plain is None:
                    plain = mine, machine.memory
                if mine != shown or machine.memory != self.memory:
                    continue
                reasons = [self._reason(state, event, key) for key in dropped]
                if None in reasons:
                    unnamed = True
                    continue
                names.append(frozenset(filter(None, reasons)))
                left.append(_State(machine.tlb[cpu], machine.psc[cpu]))
                if self.split and shown >= 0:
                    left += self._other_side(event)
        machine.memory = self.memory.copy()
        if not left:
            assert plain is not None  # noqa: S101 - there is always a state, and no entry of it need be dropped
            mine, memory = plain
            if unnamed:
                return UNNAMED, words(mine), words(shown)
            if mine != shown:
                return OUTCOME, words(mine), words(shown)
            return MEMORY, *_different_words(memory, self.memory)
        fewest = min(names, key=_fewest)
        self.explained.update(fewest)
        self.states[cpu] = _widest(left)
        self._note(event, shown)
        return None

    def _parts(self, state: _State, event: Event) -> Iterator[tuple[int, ...]]:
        """Return the parts of what the access can meet in the caches, the smallest first; an upper entry as ~key."""
        cpu, page = event.cpu, event.first
        pcid = self.machine.pcid[cpu]
        side = FETCH if event.second == EXEC and self.split else 0
        met = [
            key
            for tag in (side | pcid << 4, side | GLOBAL_TAG << 4)
            for key in (tag | page, tag | 8 | page >> 2)
            if key in state.tlb
        ]
        upper = pcid << 1 | page >> 2
        if upper in state.psc:
            met.append(~upper)
        for count in range(len(met) + 1):
            yield from combinations(met, count)

    def _reason(self, state: _State, event: Event, key: int) -> str | None:
        """Return why QEMU does not have an entry any more; None if nothing that is known explains it."""
        if key < 0:
            return NO_UPPER_CACHE
        entry = state.tlb[key]
        kind = event.second
        permits = tlb_grants(entry) & kind
        if denies(self.machine.pkru[event.cpu], tlb_key(entry), kind):
            permits = 0
        if not permits or (kind == WRITE and not entry & DIRTY):
            return WALKS_AGAIN
        if key >> 4 & TAG_MASK == GLOBAL_TAG:
            return NO_GLOBALS
        if key & FETCH:
            return CODE_MEMORY
        return self.loose[event.cpu].get((key, entry))

    def _other_side(self, event: Event) -> Iterator[_State]:
        """Return the state in which the other TLB was filled as well: QEMU's own serves fetches and loads."""
        machine = self.machine
        cpu, page, kind = event.cpu, event.first, event.second
        side = 0 if kind == EXEC else FETCH
        tlb = machine.tlb[cpu].copy()
        for tag in (side | machine.pcid[cpu] << 4, side | GLOBAL_TAG << 4):
            for key in (tag | page, tag | 8 | page >> 2):
                tlb.pop(key, None)
        machine.tlb[cpu] = tlb
        machine.psc[cpu] = machine.psc[cpu].copy()
        machine.fill(cpu, page, side)
        if machine.memory == self.memory:
            yield _State(machine.tlb[cpu], machine.psc[cpu])

    # What QEMU drops beyond what it was told to.

    def _note(self, event: Event, shown: int) -> None:
        """Note what an access has made QEMU drop or cache, that the machine does not."""
        cpu, page = event.cpu, event.first
        pcid = self.machine.pcid[cpu]
        if shown < 0:
            self._loosen_large(cpu, pcid)
        elif self.memory[self.machine.cr3[cpu] << 2 | page >> 2] & PSE:
            self.large[cpu].add(pcid)
        self._loosen_elsewhere(cpu, pcid, page)
        if self.split and event.second == EXEC:
            # QEMU's one TLB serves loads too, and what is remembered of the code may have spared it this walk.
            self._loosen_page(cpu, page, CODE_MEMORY)

    def _loosen_elsewhere(self, cpu: int, pcid: int, page: int) -> None:
        """Note what Processors drops under other PCIDs, if global entries may be cached there."""
        if not self.qemu.has_global(cpu):
            return
        for other in sorted(self.large[cpu] - {pcid}):
            self._loosen_large(cpu, other)
        self._loosen_page(cpu, page, NO_GLOBALS)

    def _loosen_page(self, cpu: int, page: int, reason: str) -> None:
        loose = self.loose[cpu]
        for state in self.states[cpu]:
            for key, entry in state.tlb.items():
                if key & 7 == (page >> 2 if key & 8 else page):
                    loose.setdefault((key, entry), reason)

    def _loosen_large(self, cpu: int, pcid: int) -> None:
        if pcid in self.large[cpu]:
            self._loosen(cpu, (pcid, GLOBAL_TAG), LARGE_REGION)

    def _loosen(self, cpu: int, tags: Sequence[int], reason: str) -> None:
        loose = self.loose[cpu]
        for state in self.states[cpu]:
            for key, entry in state.tlb.items():
                if key >> 4 & TAG_MASK in tags:
                    loose.setdefault((key, entry), reason)


def _fewest(names: frozenset[str]) -> tuple[int, list[str]]:
    return len(names), sorted(names)


def _widest(states: list[_State]) -> list[_State]:
    """Return the states that no other one stands for."""
    if len(states) == 1:
        return states
    kept: list[_State] = []
    for state in states:
        if not any(state.within(other) for other in kept):
            kept = [other for other in kept if not other.within(state)]
            kept.append(state)
    return kept


def words(shown: int) -> str:
    """Return an outcome in words."""
    return f"frame f{shown}" if shown >= 0 else f"page fault, error code {-shown:#x}"


def _different_words(mine: Sequence[int], theirs: Sequence[int]) -> tuple[str, str]:
    at = next(i for i, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other)
    name = f"f{at >> 2}[{at & 3}] = "
    return name + entry_text(mine[at]), name + entry_text(theirs[at])
