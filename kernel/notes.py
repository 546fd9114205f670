"""What the text asks the machine for, carried out after each of its stops."""

from typing import Final

from shootdown.kernel.library import (
    CR3,
    FLUSH,
    FREE_PAGE,
    FREE_TABLE,
    INSTRUCTION,
    INTERRUPTS,
    INVLPG,
    INVLPGB,
    INVPCID_ALL,
    INVPCID_ONE,
    IPI,
    LAZY_NOTE,
    LEFT_OUT,
    LOADED,
    TLBSYNC,
    UNCHANGED,
    WARNING,
)
from shootdown.kernel.state import KernelState
from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.machine.x86 import NO_ROOT
from shootdown.mm.frames import free_table, put_page
from shootdown.mm.state import (
    FLUSHES,
    FULL,
    GONE_MM,
    INIT_MM,
    INVALIDATED,
    IPIS,
    MMS,
    POKING_MM,
    SWITCHING,
)
from shootdown.mm.world import World

_LOADED: Final = {
    INIT_MM: "init_mm",
    SWITCHING: "LOADED_MM_SWITCHING",
    GONE_MM: "a dead mm",
    POKING_MM: "the temporary mm",
}
_NO_FLUSH: Final = 1 << 63
_INIT_TABLE: Final = 0x3FF
_ALL: Final = (1 << 64) - 1
_NEGATIVE: Final = 1 << 63
# The bits of RAX of INVLPGB (APM vol. 3).
_BY_ADDRESS: Final = 1
_BY_PCID: Final = 2


def carry_out(w: World, state: KernelState, count: int) -> None:
    """Carry out the first `count` notes in their order."""
    library = state.library
    notes: tuple[int, ...] = library.notes(count)
    machine = w.machine
    costs = w.costs
    for at in range(0, 4 * count, 4):
        what = notes[at]
        cpu = notes[at + 1]
        a = notes[at + 2]
        if what == CR3:
            _load_cr3(w, state, cpu, a, notes[at + 3])
        elif what == IPI:
            costs[IPIS] += 1
        elif what == INTERRUPTS:
            w.irqs_off[cpu] = bool(a)
        elif what == LOADED:
            w.loaded_mm[cpu] = a if a < _NEGATIVE else a - (1 << 64)
            if w.watch:
                loaded = _LOADED.get(w.loaded_mm[cpu], f"mm{a}")
                w.watch.said(f"loaded_mm of cpu{cpu}: {loaded}")
        elif what == LAZY_NOTE:
            w.lazy[cpu] = bool(a)
            if w.watch:
                w.watch.said(f"cpu{cpu} {'enters' if a else 'leaves'} lazy mode")
        elif what == FLUSH:
            costs[FLUSHES] += 1
            if w.watch:
                w.watch.said(f"generation {notes[at + 3]} of mm{a}")
        elif what == INVLPG:
            costs[INVALIDATED] += 1
            page = a >> 12
            if page < PAGES:
                machine.invlpg(cpu, page)
        elif what == FREE_PAGE:
            _free_page(w, state, cpu, a)
        elif what == FREE_TABLE:
            mm, index = state.tables.pop(a)
            free_table(w, mm, index, a)
        elif what == WARNING:
            condition, file, line, function = library.warned()
            w.observer.warned(cpu, f"{function}, {file}:{line}: {condition}")
        else:
            _rarer(w, state, what, cpu, a, notes[at + 3])


def _free_page(w: World, state: KernelState, cpu: int, frame: int) -> None:
    """Free the oldest page of the CPU's gather that begins with the frame: one page may be mapped more than once."""
    pages = state.gather_pages[cpu]
    at = [first for first, _ in pages].index(frame)
    _, count = pages.pop(at)
    for each in range(frame, frame + count):
        put_page(w, each)


def _load_cr3(w: World, state: KernelState, cpu: int, value: int, how: int) -> None:
    """Load a value into CR3.

    `how`: its lowest bit says that the text writes the value that CR3 has, for its effect on the TLB
    (native_flush_tlb_local); above it is the number of the space with this table plus 1, 0 for none.
    """
    flushes = how & 1
    table = value >> 12 & 0xFFFF
    root = NO_ROOT if table == _INIT_TABLE else table - 1
    noflush = bool(value & _NO_FLUSH)
    if root >= len(w.machine.memory) // FANOUT:
        w.observer.warned(cpu, f"CR3 is loaded with {value:#x}, where no page table is")
        return
    pcid = state.pcid_of((value & 0xFFF) - 1)
    if flushes:
        w.costs[FULL] += 1
        w.costs[INVALIDATED] += w.pages
    elif not noflush and root != NO_ROOT:
        w.costs[FULL] += 1
    w.machine.load_cr3(cpu, root, pcid, noflush=noflush)
    if w.watch:
        where = f"mm{(how >> 1) - 1}" if root != NO_ROOT else "init_mm"
        w.watch.said(f"CR3 of cpu{cpu}: {where}, ASID {pcid}, {'no ' if noflush else ''}flush")
    mm = (how >> 1) - 1
    if not flushes and 0 <= mm < MMS:
        w.observer.table_loaded(cpu, mm, root)


def _rarer(w: World, state: KernelState, what: int, cpu: int, a: int, b: int) -> None:
    machine = w.machine
    if what == INVPCID_ALL:
        machine.invpcid_all(cpu, globals_too=bool(a))
    elif what == INVPCID_ONE:
        pcid = state.pcid_of(a - 1)
        if b == _ALL:
            machine.invpcid_context(cpu, pcid)
        elif b >> 12 < PAGES:
            machine.invpcid_page(cpu, pcid, b >> 12)
    elif what == TLBSYNC:
        machine.tlbsync(cpu)
        state.need_tlbsync &= ~(1 << cpu)
    elif what == INVLPGB:
        _broadcast(w, state, cpu, a, b)
    elif what in (LEFT_OUT, UNCHANGED):
        if w.watch:
            target, generations = a & 0xFF, a >> 8
            did = "is left out" if what == LEFT_OUT else "has nothing to do"
            if generations:
                did += f" (flush of generation {generations & 0xFFFF}, it has {generations >> 16 & 0xFFFF})"
            w.watch.decided(target, f"cpu{target} {did}: {state.library.places.decided(b)}")
    else:
        assert what == INSTRUCTION, "the notes are those of kernel/shim/machinery/primitives.h"
        # The processor of the simulation has not done what it should, so nothing that follows is known.
        w.observer.warned(cpu, "an instruction that the simulation does not have")


def _broadcast(w: World, state: KernelState, cpu: int, rax: int, registers: int) -> None:
    """Issue INVLPGB.

    `registers`: ECX in the upper half, EDX in the lower one (APM vol. 3).
    """
    machine = w.machine
    ecx, edx = registers >> 32, registers & 0xFFFFFFFF
    state.need_tlbsync |= 1 << cpu
    if not rax & _BY_PCID:
        machine.invlpgb_nonglobals(cpu)
        w.costs[FULL] += w.cpus
        return
    pcid = state.pcid_of((edx >> 16 & 0xFFF) - 1)
    if not rax & _BY_ADDRESS:
        machine.invlpgb_context(cpu, pcid)
        w.costs[FULL] += w.cpus
        w.costs[INVALIDATED] += w.pages * w.cpus
        return
    stride = FANOUT if ecx >> 31 else 1
    first = rax >> 12
    for page in range(first, first + ((ecx & 0xFFFF) + 1) * stride):
        if page < PAGES:
            machine.invlpgb(cpu, pcid, page)
    w.costs[INVALIDATED] += ((ecx & 0xFFFF) + 1) * w.cpus
