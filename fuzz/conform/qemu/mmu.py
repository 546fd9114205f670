"""QEMU's MMU: one emulated x86-64 processor that executes a load, a store or a fetch of user mode at a time.

The wheel `unicorn` is the processor emulation of QEMU 5.0 as a library.
With UC_TLB_CPU it walks the guest's page tables in the guest's memory, sets A and D there, caches translations in
QEMU's TLB and says why an access faults; nothing of that is unicorn's own.

An instance is one processor with one PCID, because QEMU's emulation has no PCID: MOV to CR3 always drops everything.
So what noflush keeps is kept by leaving CR3 alone and writing the entry of the page-directory-pointer table above it.

Its artefacts, found by experiment with unicorn 2.1.4, and what is done about each:

- It delivers no page fault to the guest: emu_start ends with an error, and a second fault would be a double fault.
  So after each fault the saved registers of user mode are restored, among which the pending exception is none.
- The error code is in no register that it names: three faults whose codes are known say where the saved state has it.
- After a run it fetches from the address before `until`, so that is in a page that no comparison looks at.
- It intercepts INT and SYSCALL. To change between the privilege levels one of two saved states is restored instead.
- Of a fetch QEMU remembers the translated code by its virtual address, and looks into no TLB when it is there: a cache
  beside the TLB. Two addresses of one page that share a slot of that memory, used in turn, make each fetch look into
  the TLB (`twice` uses the same one again).
"""

import ctypes
import mmap
from importlib import import_module
from types import ModuleType
from typing import Final

from fuzz.conform.unusable import Unusable
from machine.entry import ACCESSED, DIRTY, EXEC, GLOBAL, PRESENT, PSE, READ, RW, USER, WRITE
from machine.geometry import BLOCKS, FANOUT, FRAME_BITS, FRAMES, PAGES, frame_of

_PAGE: Final = 4096
_WORDS: Final = _PAGE // 8
_TABLE: Final = PRESENT | RW | USER | ACCESSED | DIRTY

# The guest's physical memory: the machine's frames, and from _OWN on the pages of an instance itself.
# A leaf of 2 MiB is seen through the pages 0 to 3 by the first page table and 4 to 7 by the second (see `_address`).
_OWN: Final = 1 << 30
_PML4, _PDPT, _PD, _PT, _GDT, _STACK, _CODE, _DATA = range(8)
_OWN_PAGES: Final = 8
_STUBS: Final = 1 << 30
"""Virtual address of 2 MiB whose page table is the instance's own."""
_CODE_AT: Final = _STUBS | 20 << 12
_DATA_AT: Final = _STUBS | 21 << 12
_STACK_AT: Final = _STUBS | 22 << 12
_GDT_AT: Final = _STUBS | 23 << 12
# Pages 20 to 23 and the tested ones, 0 to 7, have different places in a TLB of 64 entries: none evicts another.

_NUMBER_AT: Final = 0x800
"""In each page of a frame: the frame's number, for loads."""
_STORE_AT: Final = 0x808
"""Where stores go."""
_FETCH_AT: Final = (0xC00, 0xC41)
"""Where fetches go: two places that share a slot of QEMU's memory of translated code."""

# In the instance's page _DATA.
_ADDRESS, _VALUE, _RESULT = range(3)

_USER_CS: Final = 0x23
_USER_SS: Final = 0x1B
_SEGMENTS: Final = (
    0,
    0x00AF9B000000FFFF,
    0x00CF93000000FFFF,
    0x00CFF3000000FFFF,
    0x00AFFB000000FFFF,
)
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
"""What a user access to an absent page reports (SDM vol. 3A figure 4-12)."""


class MmuError(Exception):
    """QEMU's MMU did what no processor does, or unicorn is another version; the message is a sentence."""


def load_unicorn() -> tuple[ModuleType, ModuleType]:
    """Return the modules unicorn and unicorn.x86_const. Error: Unusable, when they cannot be imported."""
    try:
        unicorn = import_module("unicorn")
        return unicorn, import_module("unicorn.x86_const")
    except ImportError:
        raise Unusable(
            "the package unicorn is not installed: `pip install 'shootdown[qemu]'` does it."
        ) from None


def _relative(opcode: bytes, at: int, word: int) -> bytes:
    """Return an instruction at an offset of _CODE whose operand is a word of _DATA, relative to RIP."""
    target = _DATA_AT + 8 * word
    return opcode + (target - (_CODE_AT + at + len(opcode) + 4)).to_bytes(4, "little", signed=True)


class _Stubs:
    """The instance's code: for each entry its address; all of them end at `end`."""

    def __init__(self) -> None:
        self.code = bytearray(_PAGE)
        self.end = _CODE_AT + 0xF00
        self.iretq = self._put(0x000, b"\x48\xcf")
        load_address = b"\x48\x8b\x3d"  # mov rdi, [rip + x]
        load_value = b"\x48\x8b\x05"  # mov rax, [rip + x]
        keep = b"\x89\x05"  # mov [rip + x], eax
        number = b"\x8b\x87" + _NUMBER_AT.to_bytes(4, "little")  # mov eax, [rdi + x]
        store = b"\x48\x89\x87" + _STORE_AT.to_bytes(4, "little")  # mov [rdi + x], rax
        self.load = self._put(0x100, (load_address, _ADDRESS), number, (keep, _RESULT))
        # The load behind the store uses the entry that the store has used, and says to which frame it went.
        self.store = self._put(
            0x200,
            (load_address, _ADDRESS),
            (load_value, _VALUE),
            store,
            number,
            (keep, _RESULT),
        )
        self.fetched = self._put(0x300, (keep, _RESULT))
        self.invlpg = self._put(0x400, (load_address, _ADDRESS), b"\x0f\x01\x3f")
        self.flush = self._put(0x500, b"\x0f\x20\xd8\x0f\x22\xd8")  # mov rax, cr3; mov cr3, rax
        self.wrpkru = self._put(
            0x600, (load_value, _VALUE), b"\x31\xc9\x31\xd2", b"\x0f\x01\xef"
        )  # xor ecx, ecx; xor edx, edx; wrpkru

    def _put(self, at: int, *parts: bytes | tuple[bytes, int]) -> int:
        start = at
        for part in parts:
            code = part if isinstance(part, bytes) else _relative(part[0], at, part[1])
            self.code[at : at + len(code)] = code
            at += len(code)
        # jmp end
        self.code[at : at + 5] = b"\xe9" + (self.end - (_CODE_AT + at + 5)).to_bytes(4, "little")
        return _CODE_AT + start


_CODE_OF: Final = _Stubs()


def _address(page: int) -> int:
    """Return the virtual address of a page: entry `page` of its page table, so that no two share a place in the TLB."""
    return (page // FANOUT) << 21 | page << 12


class _Buffer:
    """Memory of this process that guests have as theirs: `words` is it as 64-bit words, `at` its address."""

    def __init__(self, pages: int) -> None:
        self._map = mmap.mmap(-1, pages * _PAGE)
        self._held = ctypes.c_char.from_buffer(self._map)
        self.at = ctypes.addressof(self._held)
        self.bytes = memoryview(self._map)
        self.words = self.bytes.cast("Q")


class Frames:
    """The machine's frames as all instances of a process see them.

    A page of a frame has code and the frame's number, which never change; the words of page tables come from the
    caller for each access, and only those that the walk reads, so between two accesses all of them are 0.
    """

    def __init__(self) -> None:
        self.buffer = _Buffer(BLOCKS * PAGES)
        for block in range(BLOCKS):
            for page in range(PAGES):
                frame = block * FANOUT + page % FANOUT
                at = (block * PAGES + page) * _PAGE
                number = frame.to_bytes(4, "little")
                self.buffer.bytes[at + _NUMBER_AT : at + _NUMBER_AT + 4] = number
                for place in _FETCH_AT:
                    code = b"\xb8" + number + b"\xff\xe3"  # mov eax, frame; jmp rbx
                    self.buffer.bytes[at + place : at + place + len(code)] = code

    @staticmethod
    def word(frame: int, index: int) -> int:
        """Return where `buffer.words` has entry `index` of the table in a frame."""
        return ((frame // FANOUT) * PAGES + frame % FANOUT) * _WORDS + index

    def is_clean(self) -> bool:
        """Return whether no table has an entry: QEMU has written nowhere but where its walks went."""
        words = self.buffer.words
        return not any(
            any(words[at : at + PAGES]) for at in range(0, BLOCKS * PAGES * _WORDS, _WORDS)
        )


FRAMES_OF_ALL: Final = Frames()


class Mmu:
    """One processor's TLB for one PCID, over the frames that all instances share.

    `fault_address` is CR2 of the last fault as a page, -1 if it is not the address that was used; `walked` says whether
    the last access read the leaf in memory, which is known only if it was told to `probe`; `has_global` whether an
    access may have cached a global entry.
    """

    def __init__(self) -> None:
        """Start with nothing cached, no root and all keys allowed.

        Error: Unusable, when there is no unicorn; MmuError, when it does not do its part.
        """
        unicorn, x86 = load_unicorn()
        self._failure = unicorn.UcError
        self._cr2 = x86.UC_X86_REG_CR2
        uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64, x86.UC_CPU_X86_ICELAKE_SERVER)
        uc.ctl_set_tlb_mode(unicorn.UC_TLB_CPU)
        uc.ctl_set_tcg_buffer_size(1 << 22)
        self._uc = uc
        self._frames = FRAMES_OF_ALL
        self._own = _Buffer(_OWN_PAGES)
        for block in range(BLOCKS):
            at = self._frames.buffer.at + block * PAGES * _PAGE
            uc.mem_map_ptr(block << 21, PAGES * _PAGE, unicorn.UC_PROT_ALL, at)
        uc.mem_map_ptr(_OWN, _OWN_PAGES * _PAGE, unicorn.UC_PROT_ALL, self._own.at)
        self.fault_address = -1
        self.walked = False
        self.has_global = False
        self._has_large = False
        self.root = -1
        self.pkru = 0
        self._serial = 0
        self._turn = [0] * PAGES
        self._is_user = False
        self._fill_own()
        self._enter(x86)
        self._error_at = self._find_error_code()

    def _own_word(self, page: int, index: int, value: int) -> None:
        self._own.words[page * _WORDS + index] = value

    def _fill_own(self) -> None:
        own = self._own_word
        own(_PML4, 0, _OWN + _PDPT * _PAGE | _TABLE)
        own(_PDPT, 1, _OWN + _PD * _PAGE | _TABLE)
        own(_PD, 0, _OWN + _PT * _PAGE | _TABLE)
        for at, page in (
            (_CODE_AT, _CODE),
            (_DATA_AT, _DATA),
            (_STACK_AT, _STACK),
            (_GDT_AT, _GDT),
        ):
            own(_PT, at >> 12 & 511, _OWN + page * _PAGE | _TABLE)
        for i, segment in enumerate(_SEGMENTS):
            own(_GDT, i, segment)
        self._own.bytes[_CODE * _PAGE : (_CODE + 1) * _PAGE] = bytes(_CODE_OF.code)

    def _enter(self, x86: ModuleType) -> None:
        """Switch paging on, and save the registers of both privilege levels."""
        uc = self._uc
        uc.reg_write(x86.UC_X86_REG_CR3, _OWN + _PML4 * _PAGE)
        uc.reg_write(x86.UC_X86_REG_CR4, _PAE | _PGE | _PKE)
        uc.msr_write(_EFER, _EFER_BITS)
        uc.reg_write(x86.UC_X86_REG_CR0, _CR0)
        uc.reg_write(x86.UC_X86_REG_GDTR, (0, _GDT_AT, _PAGE - 1, 0))
        uc.reg_write(x86.UC_X86_REG_RBX, _CODE_OF.fetched)
        self._kernel = uc.context_save()
        top = _STACK_AT + 0xF00
        for i, value in enumerate((_CODE_OF.end, _USER_CS, _RFLAGS, top, _USER_SS)):
            self._own_word(_STACK, 0xF00 // 8 + i, value)
        uc.reg_write(x86.UC_X86_REG_RSP, top)
        uc.emu_start(_CODE_OF.iretq, _CODE_OF.end)
        if uc.reg_read(x86.UC_X86_REG_CS) != _USER_CS:
            raise MmuError("unicorn does not enter user mode.")
        self._user = uc.context_save()
        self._seen = uc.context_save()
        self._is_user = True

    def _find_error_code(self) -> int:
        """Return where a saved state has the error code of a page fault. Error: MmuError."""
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
        """Execute one access; return the frame, or None if it faults, with the state in `_seen`."""
        uc = self._uc
        if not self._is_user:
            uc.context_restore(self._user)
            self._is_user = True
        words = self._own.words
        data = _DATA * _WORDS
        address = _address(page)
        words[data + _RESULT] = FRAMES
        turn = self._turn[page]
        if kind == EXEC:
            start = address | _FETCH_AT[turn ^ twice]
        else:
            words[data + _ADDRESS] = address
            start = _CODE_OF.load
            if kind == WRITE:
                start = _CODE_OF.store
                self._serial += 1
                words[data + _VALUE] = self._serial
        try:
            uc.emu_start(start, _CODE_OF.end)
        except self._failure:
            uc.context_update(self._seen)
            self._is_user = False
            return None
        frame = words[data + _RESULT]
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

        `memory` is that of a machine; A and D are set in it where QEMU sets them.
        `twice`: a fetch uses the address of the one before. `probe`: A is hidden from QEMU, so that `walked` says
        whether a walk translated the access, or an entry of the TLB.
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
            self._has_large = True
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
        offset = _STORE_AT if kind == WRITE else _NUMBER_AT
        if kind == EXEC:
            offset = _FETCH_AT[self._turn[page] ^ twice]
        self.fault_address = page if address == _address(page) + offset else -1
        return code

    def _check_store(self, page: int, frame: int) -> None:
        """Hold a store against the memory that it should have changed. Error: MmuError."""
        words = self._frames.buffer.words
        for index in (frame % FANOUT, page):
            at = ((frame // FANOUT) * PAGES + index) * _WORDS + _STORE_AT // 8
            if words[at] == self._serial:
                words[at] = 0
                return
        raise MmuError(f"a store of QEMU's MMU is not in frame {frame}.")

    # What drops, and what selects.

    def set_root(self, root: int) -> None:
        """Have walks begin at the page directory in a frame (-1: nowhere); nothing cached is dropped."""
        self.root = root
        entry = FRAME_BITS[root] | _TABLE if root >= 0 else 0
        self._own_word(_PDPT, 0, entry)

    def invlpg(self, page: int) -> None:
        """Execute INVLPG for a page; where leaves of 2 MiB have been used, for all pages of its 2 MiB.

        What is remembered of translated code is dropped for the page of 4 KiB alone, where SDM vol. 3A 4.10.4.1 has all
        that is cached of the larger page dropped (fuzz.conform.qemu.known).
        """
        first = page - page % FANOUT
        for each in range(first, first + FANOUT) if self._has_large else (page,):
            self._own.words[_DATA * _WORDS + _ADDRESS] = _address(each)
            self._execute(_CODE_OF.invlpg)

    def flush(self) -> None:
        """Execute MOV to CR3, which drops everything (fuzz.conform.qemu.known)."""
        self.has_global = self._has_large = False
        self._execute(_CODE_OF.flush)

    def write_pkru(self, pkru: int) -> None:
        """Execute WRPKRU, which drops everything too (fuzz.conform.qemu.known)."""
        self.has_global = self._has_large = False
        self.pkru = pkru
        self._own.words[_DATA * _WORDS + _VALUE] = pkru
        if not self._is_user:
            self._uc.context_restore(self._user)
        self._uc.emu_start(_CODE_OF.wrpkru, _CODE_OF.end)
        self._uc.context_update(self._user)
        self._is_user = True

    def _execute(self, stub: int) -> None:
        self._uc.context_restore(self._kernel)
        self._is_user = False
        self._uc.emu_start(stub, _CODE_OF.end)
