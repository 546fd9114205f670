"""The memory of an emulated processor: its own pages, its code, and the tested addresses."""

from typing import Final

from shootdown.machine.entry import ACCESSED, DIRTY, PRESENT, RW, USER
from shootdown.machine.geometry import FANOUT

PAGE: Final = 4096
WORDS: Final = PAGE // 8
TABLE: Final = PRESENT | RW | USER | ACCESSED | DIRTY

# The guest's physical memory: the machine's frames, and from OWN on the pages of an instance itself.
# The pages 0 to 3 of a leaf of 2 MiB are visible in the first page table, and 4 to 7 in the second (see `address_of`).
OWN: Final = 1 << 30
PML4, PDPT, PD, PT, GDT, STACK, CODE, DATA = range(8)
OWN_PAGES: Final = 8
STUBS_AT: Final = 1 << 30
"""The virtual address of 2 MiB whose page table is the instance's own."""
CODE_AT: Final = STUBS_AT | 20 << 12
DATA_AT: Final = STUBS_AT | 21 << 12
STACK_AT: Final = STUBS_AT | 22 << 12
GDT_AT: Final = STUBS_AT | 23 << 12
# Pages 20 to 23 and the tested pages, 0 to 7, have different places in a TLB of 64 entries: none evicts another.

NUMBER_AT: Final = 0x800
"""The place of the frame's number in each page of a frame, for loads."""
STORE_AT: Final = 0x808
"""The place for stores in each page of a frame."""
FETCH_AT: Final = (0xC00, 0xC41)
"""The places for fetches: two that share a slot of QEMU's memory of translated code."""

# In the instance's page DATA.
ADDRESS, VALUE, RESULT = range(3)

USER_CS: Final = 0x23
USER_SS: Final = 0x1B
SEGMENTS: Final = (
    0,
    0x00AF9B000000FFFF,
    0x00CF93000000FFFF,
    0x00CFF3000000FFFF,
    0x00AFFB000000FFFF,
)


def _relative(opcode: bytes, at: int, word: int) -> bytes:
    """Return an instruction at an offset of CODE whose operand is a word of DATA, relative to RIP."""
    target = DATA_AT + 8 * word
    return opcode + (target - (CODE_AT + at + len(opcode) + 4)).to_bytes(4, "little", signed=True)


class Stubs:
    """The instance's code: the address of each entry point; all of them end at `end`."""

    def __init__(self) -> None:
        self.code = bytearray(PAGE)
        self.end = CODE_AT + 0xF00
        self.iretq = self._put(0x000, b"\x48\xcf")
        load_address = b"\x48\x8b\x3d"  # mov rdi, [rip + x]
        load_value = b"\x48\x8b\x05"  # mov rax, [rip + x]
        keep = b"\x89\x05"  # mov [rip + x], eax
        number = b"\x8b\x87" + NUMBER_AT.to_bytes(4, "little")  # mov eax, [rdi + x]
        store = b"\x48\x89\x87" + STORE_AT.to_bytes(4, "little")  # mov [rdi + x], rax
        self.load = self._put(0x100, (load_address, ADDRESS), number, (keep, RESULT))
        # The load after the store uses the same entry as the store, and says which frame the store reached.
        self.store = self._put(
            0x200,
            (load_address, ADDRESS),
            (load_value, VALUE),
            store,
            number,
            (keep, RESULT),
        )
        self.fetched = self._put(0x300, (keep, RESULT))
        self.invlpg = self._put(0x400, (load_address, ADDRESS), b"\x0f\x01\x3f")
        self.flush = self._put(0x500, b"\x0f\x20\xd8\x0f\x22\xd8")  # mov rax, cr3; mov cr3, rax
        self.wrpkru = self._put(
            0x600, (load_value, VALUE), b"\x31\xc9\x31\xd2", b"\x0f\x01\xef"
        )  # xor ecx, ecx; xor edx, edx; wrpkru

    def _put(self, at: int, *parts: bytes | tuple[bytes, int]) -> int:
        start = at
        for part in parts:
            code = part if isinstance(part, bytes) else _relative(part[0], at, part[1])
            self.code[at : at + len(code)] = code
            at += len(code)
        # jmp end
        self.code[at : at + 5] = b"\xe9" + (self.end - (CODE_AT + at + 5)).to_bytes(4, "little")
        return CODE_AT + start


CODE_OF: Final = Stubs()


def address_of(page: int) -> int:
    """Return the virtual address of a page: entry `page` of its page table, so that no two share a place in the TLB."""
    return (page // FANOUT) << 21 | page << 12
