"""QEMU's MMU: one emulated x86-64 processor that executes one load, store or fetch of user mode at a time.

The wheel `unicorn` is the processor emulation of QEMU 5.0 as a library.
With UC_TLB_CPU it walks the guest's page tables in the guest's memory, sets A and D there, caches translations in
QEMU's TLB and says why an access faults; all of that is QEMU's code, not unicorn's.

An instance is one processor with one PCID, because QEMU's emulation has no PCID: MOV to CR3 always drops everything.
So a load with noflush leaves CR3 alone and writes the entry of the page-directory-pointer table above it.

Its artefacts, found by experiment with unicorn 2.1.4, and the remedy for each:

- It delivers no page fault to the guest: emu_start ends with an error, and a second fault would be a double fault.
  So after each fault the saved registers of user mode are restored, in which no exception is pending.
- The error code is in no register that unicorn names: three faults with known codes show its place in the saved state.
- After a run it fetches from the address before `until`, so that address is in a page that no comparison looks at.
- It intercepts INT and SYSCALL. To change the privilege level, one of two saved states is restored instead.
- QEMU keeps the translated code of a fetch by its virtual address, and does not look into the TLB while it has that
  code: this is a cache beside the TLB. Two addresses of one page share a slot of that cache; used alternately, they
  make each fetch look into the TLB (`twice` uses the same address again).
"""

import ctypes
import mmap
from importlib import import_module
from types import ModuleType
from typing import Final

from shootdown.machine.entry import ACCESSED, EXEC, GLOBAL, PRESENT, PSE, READ, WRITE
from shootdown.machine.geometry import BLOCKS, FANOUT, FRAME_BITS, FRAMES, PAGES, frame_of
from shootdown.machine.qemu.layout import (
    ADDRESS,
    CODE,
    CODE_AT,
    CODE_OF,
    DATA,
    DATA_AT,
    FETCH_AT,
    GDT,
    GDT_AT,
    NUMBER_AT,
    OWN,
    OWN_PAGES,
    PAGE,
    PD,
    PDPT,
    PML4,
    PT,
    RESULT,
    SEGMENTS,
    STACK,
    STACK_AT,
    STORE_AT,
    TABLE,
    USER_CS,
    USER_SS,
    VALUE,
    WORDS,
    address_of,
)
from shootdown.system.unusable import Unusable

_CR0: Final = 0x80010011
"""PG, WP, ET and PE."""
_PAE: Final = 1 << 5
_PGE: Final = 1 << 7
_PKE: Final = 1 << 22
_EFER: Final = 0xC0000080
_EFER_BITS: Final = 0xD00
"""LME, LMA and NXE."""
_RFLAGS: Final = 2

_PF_CODES: Final = {READ: 4, WRITE: 6, EXEC: 20}
"""The error codes of a user access to an absent page (SDM vol. 3A figure 4-12)."""


class MmuError(Exception):
    """An error: QEMU's MMU did what no processor does, or unicorn has another version; the message is a sentence."""


def load_unicorn() -> tuple[ModuleType, ModuleType]:
    """Return the modules unicorn and unicorn.x86_const.

    Errors: Unusable, when they cannot be imported.
    """
    try:
        unicorn = import_module("unicorn")
        return unicorn, import_module("unicorn.x86_const")
    except ImportError:
        raise Unusable(
            "the package unicorn is not installed: `pip install 'shootdown[qemu]'` does it."
        ) from None


class _Buffer:
    """Memory of this process that guests use as their own.

    `words`: the memory as 64-bit words.
    `at`: its address.
    """

    def __init__(self, pages: int) -> None:
        self._map = mmap.mmap(-1, pages * PAGE)
        self._held = ctypes.c_char.from_buffer(self._map)
        self.at = ctypes.addressof(self._held)
        self.bytes = memoryview(self._map)
        self.words = self.bytes.cast("Q")


class Frames:
    """The machine's frames, shared by all instances of a process.

    A page of a frame has code and the frame's number, which never change. The caller provides the words of page tables
    for each access, and only those that the walk reads, so between two accesses all of them are 0.
    """

    def __init__(self) -> None:
        self.buffer = _Buffer(BLOCKS * PAGES)
        for block in range(BLOCKS):
            for page in range(PAGES):
                frame = block * FANOUT + page % FANOUT
                at = (block * PAGES + page) * PAGE
                number = frame.to_bytes(4, "little")
                self.buffer.bytes[at + NUMBER_AT : at + NUMBER_AT + 4] = number
                for place in FETCH_AT:
                    code = b"\xb8" + number + b"\xff\xe3"  # mov eax, frame; jmp rbx
                    self.buffer.bytes[at + place : at + place + len(code)] = code

    @staticmethod
    def word(frame: int, index: int) -> int:
        """Return the index in `buffer.words` of entry `index` of the table in a frame."""
        return ((frame // FANOUT) * PAGES + frame % FANOUT) * WORDS + index

    def is_clean(self) -> bool:
        """Return whether no table has an entry: QEMU has written only to entries that its walks used."""
        words = self.buffer.words
        return not any(
            any(words[at : at + PAGES]) for at in range(0, BLOCKS * PAGES * WORDS, WORDS)
        )


FRAMES_OF_ALL: Final = Frames()


class Mmu:
    """One processor's TLB for one PCID, over the frames that all instances share.

    `fault_address`: the page that CR2 named at the last fault, -1 if CR2 was not the address that was used.
    `walked`: whether the last access read the leaf in memory, which is known only with `probe`.
    `has_global`: whether an access may have cached a global entry.
    """

    def __init__(self) -> None:
        """Start with nothing cached, no root and all keys allowed.

        Errors: Unusable, when there is no unicorn; MmuError, when it does not work as expected.
        """
        unicorn, x86 = load_unicorn()
        self._failure = unicorn.UcError
        self._cr2 = x86.UC_X86_REG_CR2
        uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64, x86.UC_CPU_X86_ICELAKE_SERVER)
        uc.ctl_set_tlb_mode(unicorn.UC_TLB_CPU)
        uc.ctl_set_tcg_buffer_size(1 << 22)
        self._uc = uc
        self._frames = FRAMES_OF_ALL
        self._own = _Buffer(OWN_PAGES)
        for block in range(BLOCKS):
            at = self._frames.buffer.at + block * PAGES * PAGE
            uc.mem_map_ptr(block << 21, PAGES * PAGE, unicorn.UC_PROT_ALL, at)
        uc.mem_map_ptr(OWN, OWN_PAGES * PAGE, unicorn.UC_PROT_ALL, self._own.at)
        self.fault_address = -1
        self.walked = False
        self.has_global = False
        self._large = 0
        """A bit for each 2 MiB in which a leaf of that size may be cached."""
        self.root = -1
        self.pkru = 0
        self._serial = 0
        self._turn = [0] * PAGES
        self._is_user = False
        self._fill_own()
        self._enter(x86)
        self._error_at = self._find_error_code()

    def _own_word(self, page: int, index: int, value: int) -> None:
        self._own.words[page * WORDS + index] = value

    def _fill_own(self) -> None:
        own = self._own_word
        own(PML4, 0, OWN + PDPT * PAGE | TABLE)
        own(PDPT, 1, OWN + PD * PAGE | TABLE)
        own(PD, 0, OWN + PT * PAGE | TABLE)
        for at, page in (
            (CODE_AT, CODE),
            (DATA_AT, DATA),
            (STACK_AT, STACK),
            (GDT_AT, GDT),
        ):
            own(PT, at >> 12 & 511, OWN + page * PAGE | TABLE)
        for i, segment in enumerate(SEGMENTS):
            own(GDT, i, segment)
        self._own.bytes[CODE * PAGE : (CODE + 1) * PAGE] = bytes(CODE_OF.code)

    def _enter(self, x86: ModuleType) -> None:
        """Switch paging on, and save the registers of both privilege levels."""
        uc = self._uc
        uc.reg_write(x86.UC_X86_REG_CR3, OWN + PML4 * PAGE)
        uc.reg_write(x86.UC_X86_REG_CR4, _PAE | _PGE | _PKE)
        uc.msr_write(_EFER, _EFER_BITS)
        uc.reg_write(x86.UC_X86_REG_CR0, _CR0)
        uc.reg_write(x86.UC_X86_REG_GDTR, (0, GDT_AT, PAGE - 1, 0))
        uc.reg_write(x86.UC_X86_REG_RBX, CODE_OF.fetched)
        self._kernel = uc.context_save()
        top = STACK_AT + 0xF00
        for i, value in enumerate((CODE_OF.end, USER_CS, _RFLAGS, top, USER_SS)):
            self._own_word(STACK, 0xF00 // 8 + i, value)
        uc.reg_write(x86.UC_X86_REG_RSP, top)
        uc.emu_start(CODE_OF.iretq, CODE_OF.end)
        if uc.reg_read(x86.UC_X86_REG_CS) != USER_CS:
            raise MmuError("unicorn does not enter user mode.")
        self._user = uc.context_save()
        self._seen = uc.context_save()
        self._is_user = True

    def _find_error_code(self) -> int:
        """Return the place of the error code of a page fault in a saved state.

        Errors: MmuError, when there is not exactly one such place.
        """
        at = set(range(0, self._seen.size - 8, 8))
        for kind in (READ, WRITE, EXEC, READ):
            if self._run(0, kind, 0) is not None:
                raise MmuError("unicorn reports no page fault.")
            state = bytes(self._seen)
            code = _PF_CODES[kind]
            at = {i for i in at if int.from_bytes(state[i : i + 4], "little") == code}
        if len(at) != 1:
            raise MmuError(f"unicorn has the error code of a page fault at {len(at)} places.")
        return at.pop()

    # What the processor executes.

    def _run(self, page: int, kind: int, twice: int) -> int | None:
        """Execute one access; return the frame, or None if it faults, with the state saved in `_seen`."""
        uc = self._uc
        if not self._is_user:
            uc.context_restore(self._user)
            self._is_user = True
        words = self._own.words
        data = DATA * WORDS
        address = address_of(page)
        words[data + RESULT] = FRAMES
        turn = self._turn[page]
        if kind == EXEC:
            start = address | FETCH_AT[turn ^ twice]
        else:
            words[data + ADDRESS] = address
            start = CODE_OF.load
            if kind == WRITE:
                start = CODE_OF.store
                self._serial += 1
                words[data + VALUE] = self._serial
        try:
            uc.emu_start(start, CODE_OF.end)
        except self._failure:
            uc.context_update(self._seen)
            self._is_user = False
            return None
        frame = words[data + RESULT]
        if frame >= FRAMES:
            raise MmuError("an access of QEMU's MMU showed no frame.")
        if kind == EXEC:
            self._turn[page] = turn ^ twice ^ 1
        return frame

    def access(
        self,
        page: int,
        kind: int,
        memory: list[int],
        *,
        twice: bool = False,
        probe: bool = False,
    ) -> int:
        """Execute a user-mode access of `kind` (READ, WRITE or EXEC); return the frame, or minus the error code.

        `memory`: the memory of a machine; A and D are set in it where QEMU sets them.
        `twice`: a fetch uses the address of the previous one.
        `probe`: A is hidden from QEMU, so that `walked` says whether a walk or an entry of the TLB translated the
        access.
        """
        words = self._frames.buffer.words
        hidden = ~ACCESSED if probe else -1
        places: list[tuple[int, int]] = []
        if self.root >= 0:
            at = self.root << 2 | page >> 2
            upper = memory[at]
            places.append((at, Frames.word(self.root, page >> 2)))
            if upper & PRESENT and not upper & PSE:
                table = frame_of(upper)
                places.append((table << 2 | page % FANOUT, Frames.word(table, page)))
            for at, word in places:
                words[word] = memory[at] & hidden
        frame = self._run(page, kind, twice)
        set_by_walk = 0
        for at, word in places:
            set_by_walk = words[word]
            memory[at] |= set_by_walk
            words[word] = 0
        if frame is not None and len(places) == 1 and set_by_walk & PSE:
            self._large |= 1 << page // FANOUT
        if set_by_walk & GLOBAL:
            self.has_global = True
        self.walked = probe and bool(set_by_walk & ACCESSED)
        if frame is None:
            return -self._fault(page, kind, twice)
        if kind == WRITE:
            self._check_store(page, frame)
        return frame

    def _fault(self, page: int, kind: int, twice: int) -> int:
        state = bytes(self._seen)
        code = int.from_bytes(state[self._error_at : self._error_at + 4], "little")
        address: int = self._uc.reg_read(self._cr2)
        offset = STORE_AT if kind == WRITE else NUMBER_AT
        if kind == EXEC:
            offset = FETCH_AT[self._turn[page] ^ twice]
        self.fault_address = page if address == address_of(page) + offset else -1
        return code

    def _check_store(self, page: int, frame: int) -> None:
        """Check that a store has changed the memory of its frame.

        Errors: MmuError, when it has not.
        """
        words = self._frames.buffer.words
        for index in (frame % FANOUT, page):
            at = ((frame // FANOUT) * PAGES + index) * WORDS + STORE_AT // 8
            if words[at] == self._serial:
                words[at] = 0
                return
        raise MmuError(f"a store of QEMU's MMU is not in frame {frame}.")

    # Invalidation, and the choice of the page table.

    def set_root(self, root: int) -> None:
        """Make walks begin at the page directory in a frame (-1: nowhere); nothing cached is dropped."""
        self.root = root
        entry = FRAME_BITS[root] | TABLE if root >= 0 else 0
        self._own_word(PDPT, 0, entry)

    def invlpg(self, page: int) -> bool:
        """Execute INVLPG for a page; return whether everything was dropped, because a leaf of 2 MiB may be cached.

        In that case QEMU's INVLPG drops its whole TLB, but only the page of 4 KiB of the code that it keeps. SDM vol.
        3A 4.10.4.1 demands that everything of the larger page is dropped (conform.qemu.known), which MOV to CR3 does.
        """
        self._own.words[DATA * WORDS + ADDRESS] = address_of(page)
        self._execute(CODE_OF.invlpg)
        if self._large >> page // FANOUT & 1:
            self.flush()
            return True
        return False

    def flush(self) -> None:
        """Execute MOV to CR3, which drops everything (conform.qemu.known)."""
        self.has_global = False
        self._large = 0
        self._execute(CODE_OF.flush)

    def write_pkru(self, pkru: int) -> None:
        """Execute WRPKRU, which drops everything too (conform.qemu.known)."""
        self.has_global = False
        self._large = 0
        self.pkru = pkru
        self._own.words[DATA * WORDS + VALUE] = pkru
        if not self._is_user:
            self._uc.context_restore(self._user)
        self._uc.emu_start(CODE_OF.wrpkru, CODE_OF.end)
        self._uc.context_update(self._user)
        self._is_user = True

    def _execute(self, stub: int) -> None:
        self._uc.context_restore(self._kernel)
        self._is_user = False
        self._uc.emu_start(stub, CODE_OF.end)
