"""The compiled machinery in this process: its calls, as numbers."""

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_long, c_size_t, c_ulong
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Any, Final, Literal
from weakref import ref

from shootdown.kernel.places import Places
from shootdown.kernel.text import KernelError
from shootdown.mm.step import Point

# The enumerations of kernel/shim/machinery, in their order.
STOPS: Final[tuple[Point | Literal[""], ...]] = (
    "",
    "generation",
    "flush",
    "mask",
    "remote",
    "loaded",
    "cr3",
    "ack",
    "invalidate",
    "pending",
    "free",
    "shared",
    "wait",
    "wait",
)
"""The stops of the text, each by the point of a scenario that pauses there."""
DONE: Final = 0
REMOTE: Final = STOPS.index("remote")
ACK: Final = STOPS.index("ack")
GRACE: Final = STOPS.index("wait")
SPIN: Final = GRACE + 1
EVERY_STOP: Final = (1 << len(STOPS)) - 1
WATCHED: Final = 1 << 63
"""The bit beside the stops for a run that is watched: the text also says what it decides."""

(
    FLUSH_RANGE,
    SWITCH,
    BATCH_FLUSH,
    FINISH,
    FLUSH_GATHER,
    FLUSH_TLBONLY,
    TEMPORARY,
    BACK,
    LAZY,
    BATCH_ADD,
    GATHER,
    RECORD,
    RECORD_TABLE,
    PAGE,
    TABLE,
) = range(15)
(
    CR3,
    INVLPG,
    INVPCID_ONE,
    INVPCID_ALL,
    INVLPGB,
    TLBSYNC,
    IPI,
    LOADED,
    LAZY_NOTE,
    INTERRUPTS,
    FREE_PAGE,
    FREE_TABLE,
    WARNING,
    INSTRUCTION,
    FLUSH,
    LEFT_OUT,
    UNCHANGED,
) = range(1, 18)
_NOTES: Final = 512
_LOWEST: Final = (1 << 31) - 1

_NUMBERS: Final = [Struct(f"<{4 * count}Q") for count in range(_NOTES + 1)]
"""For a number of notes, how they are in memory."""

_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "kernel_call": (c_long, [c_int, c_ulong, c_int, c_long, c_long, c_long, c_long]),
    "kernel_resume": (c_long, [c_int, c_ulong]),
    "kernel_now": (c_long, [c_int, c_int, c_long, c_long, c_long]),
    "kernel_boot": (c_int, [c_int, c_int, c_ulong]),
    "kernel_new_space": (c_int, [c_int]),
    "kernel_set_table": (None, [c_int, c_ulong]),
    "kernel_set_interrupts": (None, [c_int, c_int]),
    "kernel_tick": (None, []),
    "kernel_pending": (c_int, [c_int]),
    "kernel_batched": (c_int, [c_int]),
    "kernel_notes": (c_ulong, []),
    "kernel_warned": (c_char_p, [c_int]),
    "kernel_warned_line": (c_int, []),
    "kernel_save": (c_size_t, [c_ulong]),
    "kernel_load": (None, [c_char_p]),
    "kernel_words": (c_size_t, [c_ulong]),
    "kernel_largest": (c_size_t, []),
    "kernel_asid": (c_int, [c_int]),
    "kernel_quiesce": (c_int, [c_int]),
    "kernel_owner": (c_int, [c_int, c_int]),
    "kernel_behind": (c_int, [c_int, c_int]),
    "kernel_recorded": (c_int, [c_int]),
    "kernel_stopped_at": (c_ulong, [c_int]),
    "kernel_unstopped": (c_int, [c_int]),
    "kernel_unstopped_code": (c_ulong, [c_int]),
    "kernel_unstopped_writes": (c_int, [c_int]),
}


class Part:
    """The part of a state that is in a library, or waits as bytes.

    The library knows the part that is in it only as long as a world has it: campaigns make a world for each input, and
    to save the last one's each time is a third of the cost of a boot.

    `saved`: what it was when it was saved last; b"" for the state at the boot.
    `newer`: the library has a newer state.
    `digest`: of the state; () if it is not known.
    """

    def __init__(self) -> None:
        self.saved = b""
        self.newer = False
        self.digest: tuple[int, ...] = ()


def _nobody() -> Part | None:
    return None


class Library:
    """The machinery of a text for a number of ASIDs, with the one state that is in its memory.

    `places`: the places of its code in the text.
    """

    def __init__(self, path: Path, sources: dict[str, str]) -> None:
        self.places = Places(path, sources)
        # The calls are short and call nothing back, so the interpreter's lock is not released for them.
        library: Any = ctypes.PyDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
        self.call: Any = library.kernel_call
        self.resume: Any = library.kernel_resume
        self.now: Any = library.kernel_now
        self.c: Any = library
        self._live: Callable[[], Part | None] = _nobody
        address = library.kernel_notes()
        self._notes: Any = (c_ulong * (4 * _NOTES)).from_address(address)
        largest: int = library.kernel_largest()
        self._saved = ctypes.create_string_buffer(largest)
        # For each word its place beside it, and the numbers of words.
        self._words = ctypes.create_string_buffer(2 * largest + 1024)
        self._words_at = ctypes.addressof(self._words)
        self._saved_at = ctypes.addressof(self._saved)

    @property
    def live(self) -> "Part | None":
        """The part that is in the library, None if no world has it any more."""
        return self._live()

    def make_live(self, part: "Part") -> None:
        """Let what is in the library wait, if a world still has it; from here on the library is this part's."""
        before = self._live()
        if before is not None and before.newer:
            before.saved = self.save()
            before.newer = False
        self._live = ref(part)

    def boot(self, cpus: int, *, broadcasts: bool, ceiling: int) -> None:
        """Begin with nothing loaded.

        Errors: KernelError, when the text has more state than there is room for.
        """
        wrong = self.c.kernel_boot(cpus, int(broadcasts), ceiling)
        if wrong:
            what = "per-CPU data" if wrong == 1 else "variables"
            raise KernelError(f"The text has more {what} than the simulation has room for.")

    def notes(self, count: int) -> tuple[int, ...]:
        """Return the first `count` of what the text asks the machine for, four numbers for each."""
        numbers: tuple[int, ...] = _NUMBERS[count].unpack_from(self._notes)
        return numbers

    def save(self) -> bytes:
        """Return the state in the library's memory."""
        count = self.c.kernel_save(self._saved_at)
        return (
            self._saved.raw[:count]
            if count == len(self._saved)
            else ctypes.string_at(self._saved_at, count)
        )

    def load(self, state: bytes) -> None:
        """Replace the state in the library's memory."""
        self.c.kernel_load(state)

    def digest(self) -> tuple[int, ...]:
        """Return numbers below 2**31, equal for equal states in any process, and for no others.

        They are 124 bits of a hash of all that the future of the text depends on (kernel_words in
        kernel/shim/machinery/core.c).
        """
        count: int = self.c.kernel_words(self._words_at)
        words = ctypes.string_at(self._words_at, 8 * count)
        number = int.from_bytes(blake2b(words, digest_size=16).digest(), "little")
        return (
            number & _LOWEST,
            number >> 31 & _LOWEST,
            number >> 62 & _LOWEST,
            number >> 93 & _LOWEST,
        )

    def warned(self) -> tuple[str, str, int, str]:
        """Return the condition, the file, the line and the function of the text's warning."""
        condition, file, function = (self.c.kernel_warned(i).decode() for i in range(3))
        return condition, file, self.c.kernel_warned_line(), function

    def unstopped(self) -> list[tuple[int, bool]]:
        """Return the accesses so far that another CPU's could come before, and that have no stop before them.

        Each is the address of its code in the library, and whether it writes.
        """
        found: list[tuple[int, bool]] = []
        at: int = self.c.kernel_unstopped(0)
        while at >= 0:
            code: int = self.c.kernel_unstopped_code(at)
            found.append((code, bool(self.c.kernel_unstopped_writes(at))))
            at = self.c.kernel_unstopped(at + 1)
        return found
