"""The mode of a comparison in which any entry may have been dropped (conform.qemu.compare)."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from shootdown.conform.qemu.events import (
    ACCESS,
    INVLPG,
    INVPCID_CONTEXT,
    INVPCID_PAGE,
    LOAD_CR3,
    STORE,
    WRPKRU,
    Event,
)
from shootdown.conform.qemu.known import (
    CODE_MEMORY,
    LARGE_REGION,
    NO_GLOBALS,
    NO_UPPER_CACHE,
    WALKS_AGAIN,
    WRPKRU_DROPS,
)
from shootdown.conform.qemu.sides import (
    MEMORY,
    OUTCOME,
    UNNAMED,
    Found,
    Setting,
    Side,
    different_words,
    on_machine,
    on_qemu,
    words,
)
from shootdown.machine.caches import FETCH, GLOBAL_TAG, TAG_MASK
from shootdown.machine.entry import DIRTY, EXEC, WRITE
from shootdown.machine.geometry import FRAMES
from shootdown.machine.pkru import denies
from shootdown.machine.qemu.processors import Processors
from shootdown.machine.tlb_entry import tlb_grants, tlb_key
from shootdown.machine.x86 import Machine
from shootdown.scenario.switches import SPLIT_TLB


class _State(NamedTuple):
    """What a processor may have cached; it stands for any part of that."""

    tlb: dict[int, int]
    psc: dict[int, int]

    def within(self, other: "_State") -> bool:
        """Return whether dropping entries turns the other state into this one."""
        return self.tlb.items() <= other.tlb.items() and self.psc.items() <= other.psc.items()


class MayDrop(Side):
    """The mode in which any entry may have been dropped.

    The memory is the same in all states that are left, because it was compared. So the states differ in the caches, and
    the caches of one processor are independent of those of another: `states` has a list for each processor.
    """

    def __init__(self, machine: Machine, qemu: Processors, setting: Setting) -> None:
        super().__init__(machine, qemu)
        self.split = bool(setting.machine & SPLIT_TLB)
        self.states = [[_State({}, {})] for _ in range(setting.shape.cpus)]
        self.loose: list[dict[tuple[int, int], str]] = [{} for _ in self.states]
        """For each processor the entries, by key, that QEMU has dropped, or may have dropped, for a known reason, and
        the reason.
        """
        self.remembered: list[set[tuple[int, int, int]]] = [set() for _ in self.states]
        """For each processor what its fetches have met since the last drop: PCID, page and frame."""
        # As long as no state has a global entry, a search for one changes nothing.
        machine.has_global = True

    def apply(self, event: Event) -> Found | None:
        """Execute an event on both sides, as Side.apply says."""
        if event.kind == ACCESS:
            return self._access(event)
        machine = self.machine
        cpu = event.cpu
        on_qemu(self.qemu, event)
        self._forget_flushed(event)
        if event.kind in (INVLPG, INVPCID_PAGE):
            self._loosen_flushed(cpu)
        if event.kind == INVLPG:
            self._loosen_elsewhere(cpu, event.first)
        elif event.kind == WRPKRU:
            self._loosen(cpu, range(TAG_MASK + 1), WRPKRU_DROPS)
        left = []
        for state in self.states[cpu]:
            machine.tlb[cpu], machine.psc[cpu] = state.tlb, state.psc
            on_machine(machine, event)
            left.append(_State(machine.tlb[cpu], machine.psc[cpu]))
        self.states[cpu] = _widest(left)
        if machine.memory != self.memory:
            return MEMORY, *different_words(machine.memory, self.memory)
        return None

    def _access(self, event: Event) -> Found | None:
        cpu, page = event.cpu, event.first
        machine = self.machine
        before = self.memory.copy()
        shown = self.access_qemu(event)
        found = self.bad_address(event, shown)
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
            return MEMORY, *different_words(memory, self.memory)
        met = (machine.pcid[cpu], page, shown)
        if self.split and event.second == EXEC and shown >= 0:
            if met in self.remembered[cpu] and before == self.memory:
                # Remembered code does not look into the TLB, so the TLB may have cached something else, which another
                # fetch will use.
                left += self.states[cpu]
            self.remembered[cpu].add(met)
        elif shown < 0:
            # Each fault is followed by an INVLPG (known.REPAIRED).
            self._forget(cpu, page)
        fewest = min(names, key=_fewest)
        self.explained.update(fewest)
        self.states[cpu] = _widest(left)
        self._note(event)
        return None

    def _forget_flushed(self, event: Event) -> None:
        """Forget what fetches have met where the event makes QEMU drop it; it may forget more."""
        cpu = event.cpu
        if event.kind == STORE or (event.kind == LOAD_CR3 and event.third):
            return
        if event.kind in (INVLPG, INVPCID_PAGE):
            self._forget(cpu, event.first if event.kind == INVLPG else event.second)
        elif event.kind in (LOAD_CR3, INVPCID_CONTEXT):
            pcid = event.second if event.kind == LOAD_CR3 else event.first
            self.remembered[cpu] = {met for met in self.remembered[cpu] if met[0] != pcid}
        else:
            self.remembered[cpu].clear()

    def _forget(self, cpu: int, page: int) -> None:
        self.remembered[cpu] = {met for met in self.remembered[cpu] if met[1] != page}

    def _parts(self, state: _State, event: Event) -> Iterator[tuple[int, ...]]:
        """Return the subsets of what the access can meet in the caches, the smallest first; an upper entry is ~key."""
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
        """Return why QEMU has lost an entry; None if no known deviation explains it."""
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
        """Return the state in which the other TLB was filled as well: QEMU's only TLB serves fetches and loads."""
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

    # What QEMU drops in addition to what it was told to drop.

    def _note(self, event: Event) -> None:
        """Note what an access has made QEMU drop in addition to what the machine drops."""
        cpu, page = event.cpu, event.first
        self._loosen_flushed(cpu)
        self._loosen_elsewhere(cpu, page)
        if self.split and event.second == EXEC:
            # QEMU's only TLB serves loads too, and the remembered code may have saved it this walk.
            self._loosen_page(cpu, page, CODE_MEMORY)

    def _loosen_elsewhere(self, cpu: int, page: int) -> None:
        """Note what Processors drops under other PCIDs, if global entries may be cached there."""
        if self.qemu.has_global(cpu):
            self._loosen_page(cpu, page, NO_GLOBALS)

    def _loosen_page(self, cpu: int, page: int, reason: str) -> None:
        loose = self.loose[cpu]
        for state in self.states[cpu]:
            for key, entry in state.tlb.items():
                if key & 7 == (page >> 2 if key & 8 else page):
                    loose.setdefault((key, entry), reason)

    def _loosen_flushed(self, cpu: int) -> None:
        for pcid in self.qemu.flushed:
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
    """Return the states that no other state covers."""
    if len(states) == 1:
        return states
    kept: list[_State] = []
    for state in states:
        if not any(state.within(other) for other in kept):
            kept = [other for other in kept if not other.within(state)]
            kept.append(state)
    return kept
