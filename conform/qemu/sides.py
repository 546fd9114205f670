"""What both modes of a comparison share, and the mode in which a sequence has one outcome."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from shootdown.conform.qemu.events import (
    ACCESS,
    INVLPG,
    INVPCID_ALL,
    INVPCID_CONTEXT,
    INVPCID_PAGE,
    LOAD_CR3,
    WRPKRU,
    Event,
    Shape,
    entry_text,
)
from shootdown.machine.caches import GLOBAL_TAG, UPPER
from shootdown.machine.entry import DIRTY, WRITE
from shootdown.machine.geometry import FRAMES
from shootdown.machine.qemu.processors import Processors
from shootdown.machine.x86 import Machine
from shootdown.scenario.switches import AMD, keywords_of

EXACT: Final = "exact"
MAY_DROP: Final = "may-drop"
MODES: Final = (EXACT, MAY_DROP)

OUTCOME: Final = "outcome"
MEMORY: Final = "A and D"
ADDRESS: Final = "CR2"
UNNAMED: Final = "dropped without a known cause"
STRAY: Final = "a store beside the tables"


class Setting(NamedTuple):
    """How a sequence is made and compared: what its events may use, and the set of the machine's switches."""

    mode: str
    shape: Shape
    machine: int = AMD

    def __str__(self) -> str:
        return " ".join([self.mode, *keywords_of(self.machine)])


Found = tuple[str, str, str]
"""What differs, and what the machine and QEMU show."""


def on_machine(machine: Machine, event: Event) -> None:
    """Execute an event that is not an access."""
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


def on_qemu(qemu: Processors, event: Event) -> None:
    """Execute an event that is not an access."""
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


class Side(ABC):
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

    @abstractmethod
    def apply(self, event: Event) -> Found | None:
        """Execute an event on both sides, and return what differs."""

    def access_qemu(self, event: Event) -> int:
        """Execute an access on QEMU's MMU."""
        return self.qemu.access(
            event.cpu, event.first, event.second, self.memory, twice=bool(event.third)
        )

    def bad_address(self, event: Event, shown: int) -> Found | None:
        """Return a difference if a page fault named another address than that of the access."""
        address = self.qemu.fault_address(event.cpu)
        if shown < 0 and address != event.first:
            return ADDRESS, f"p{event.first}", f"p{address}" if address >= 0 else "elsewhere"
        return None


class Exact(Side):
    """The mode in which the sequence has one outcome."""

    def __init__(self, machine: Machine, qemu: Processors, setting: Setting) -> None:
        super().__init__(machine, qemu)
        self.kept = setting.shape.kept

    def apply(self, event: Event) -> Found | None:
        """Execute an event on both sides, as Side.apply says."""
        machine = self.machine
        cpu = event.cpu
        if event.kind == ACCESS:
            # QEMU has no upper cache (known.NO_UPPER_CACHE).
            machine.evict(cpu, event.first, UPPER)
            clean = self._meets_clean(cpu, event.first)
            entry = machine.access(cpu, event.first, event.second)
            if event.second == WRITE and entry >= 0 and clean:
                # The walk that sets D has replaced QEMU's entry (known.REPAIRED).
                machine.evict(cpu, event.first)
                machine.fill(cpu, event.first)
            mine = entry >> 8 & FRAMES - 1 if entry >= 0 else entry
            shown = self.access_qemu(event)
            self._flush_too(cpu)
            if mine != shown:
                return OUTCOME, words(mine), words(shown)
            found = self.bad_address(event, shown)
            if found is not None:
                return found
        else:
            on_machine(machine, event)
            on_qemu(self.qemu, event)
            if event.kind in (INVLPG, INVPCID_PAGE):
                self._flush_too(cpu)
            if event.kind == WRPKRU:
                machine.toggle_pge(cpu)
        if machine.memory != self.memory:
            return MEMORY, *different_words(machine.memory, self.memory)
        return None

    def _meets_clean(self, cpu: int, page: int) -> bool:
        """Return whether the entry that an access would use exists and has D clear."""
        tlb = self.machine.tlb[cpu]
        for tag in (self.machine.pcid[cpu] << 4, GLOBAL_TAG << 4):
            for key in (tag | page, tag | 8 | page >> 2):
                if key in tlb:
                    return not tlb[key] & DIRTY
        return False

    def _flush_too(self, cpu: int) -> None:
        """Drop what QEMU has dropped because a leaf of 2 MiB was cached (known.LARGE_REGION)."""
        for pcid in self.qemu.flushed:
            if self.kept:
                self.machine.toggle_pge(cpu)
            else:
                self.machine.invpcid_context(cpu, pcid)


def words(shown: int) -> str:
    """Return an outcome in words."""
    return f"frame f{shown}" if shown >= 0 else f"page fault, error code {-shown:#x}"


def different_words(mine: Sequence[int], theirs: Sequence[int]) -> tuple[str, str]:
    """Return the first word in which two memories differ, in words, as each has it."""
    at = next(i for i, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other)
    name = f"f{at >> 2}[{at & 3}] = "
    return name + entry_text(mine[at]), name + entry_text(theirs[at])
