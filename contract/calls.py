"""The calls that change what a program may do at its pages, by name; all others promise it no change.

A call is judged by its arguments and by the regions that the calls before it have made.
Nothing of what the memory manager does is asked, but for what a system call returns to its caller: the child of a fork,
and that an address space has ended.
"""

from typing import Final

from shootdown.machine.plain import Plain

NO_CALL: Final = 0
MPROTECT: Final = 1
PKEY_MPROTECT: Final = 2
MUNMAP: Final = 3
MMAP: Final = 4
MREMAP: Final = 5
DONTNEED: Final = 6
FREE: Final = 7
FORK: Final = 8
REGISTER: Final = 9
PROTECT: Final = 10
RESOLVE: Final = 11
PUNCH: Final = 12
REVOKE: Final = 13
WRPKRU: Final = 14
EXIT: Final = 15

NO_CHILD: Final = -1

_CHANGES: Final = {
    "mprotect": MPROTECT,
    "pkey_mprotect": PKEY_MPROTECT,
    "munmap": MUNMAP,
    "mmap": MMAP,
    "mremap": MREMAP,
    "dontneed": DONTNEED,
    "free": FREE,
    "fork": FORK,
    "uffd_register": REGISTER,
    "uffd_wp": PROTECT,
    "uffd_unwp": RESOLVE,
    "punch": PUNCH,
    "revoke": REVOKE,
    "wrpkru": WRPKRU,
    "exit": EXIT,
}
_CHANGES_NOTHING: Final = frozenset(
    {
        "read",
        "write",
        "exec",
        "copy",
        "switch",
        "lazy",
        "migrate",
        "reclaim",
        "age",
        "run",
        "fill",
        "evict",
        "clear_refs",
        "writeback",
        "collapse",
        "poke",
        "tick",
        "pin",
        "numa_scan",
        "swapout",
        "ksm",
        "shrink",
    }
)
"""What promises the program that its pages stay what they are."""


def call_of(name: str) -> int:
    """Return the call that an operation of this name makes, NO_CALL if it changes nothing for a program.

    Error: ValueError for a name that is neither, so that a new operation is not passed over.
    """
    if name in _CHANGES_NOTHING:
        return NO_CALL
    if name not in _CHANGES:
        message = f"contract/calls.py does not say whether {name} changes what a program may do"
        raise ValueError(message)
    return _CHANGES[name]


class Call(Plain):
    """A call in flight on a CPU, and what it will settle when it closes; none if its kind is NO_CALL.

    It waits as long as its CPU still has the call's first step, `top`, where it was when the call began: as the
    `depth`-th from the bottom.
    """

    def __init__(self, known: "Call | None" = None) -> None:
        self.kind: int = known.kind if known else NO_CALL
        # Of a fork the address space that it has returned, of an exit the one that has ended.
        self.child: int = known.child if known else NO_CHILD
        self.cpu: int = known.cpu if known else 0
        self.mm: int = known.mm if known else 0
        self.page: int = known.page if known else 0
        self.count: int = known.count if known else 0
        self.arg: int = known.arg if known else 0
        self.depth: int = known.depth if known else 0
        self.sequence: int = known.sequence if known else 0
        # Of a fork: an address space was free when it began, and no other fork has taken it since.
        self.room: bool = known.room if known else False
        self.top: tuple[int, ...] = known.top if known else ()
        # Slots of which it has made a new region.
        self.slots: list[int] = known.slots.copy() if known else []
        # Registers that it makes zeros of, and whether it promises so.
        self.zeroed: list[tuple[int, bool]] = known.zeroed.copy() if known else []
        # Registers that it lets go (MADV_FREE).
        self.free: list[int] = known.free.copy() if known else []
        # Slots that it write-protects for userfaultfd or the contrary, and what they are when it has closed.
        self.marks: list[tuple[int, int]] = known.marks.copy() if known else []
        # Of a fork: the private pages of the parent with their registers; those of the child follow from `child_first`.
        self.parents: list[tuple[int, int]] = known.parents.copy() if known else []
        self.child_first: int = known.child_first if known else 0

    def copy(self) -> "Call":
        """As Plain."""
        return Call(self)

    def begin(
        self,
        cpu: int,
        kind: int,
        mm: int,
        page: int,
        count: int,
        arg: int,
        depth: int,
        top: tuple[int, ...],
    ) -> None:
        """Become the call that begins."""
        self.cpu = cpu
        self.kind = kind
        self.child = NO_CHILD
        self.mm = mm
        self.page = page
        self.count = count
        self.arg = arg
        self.depth = depth
        self.top = top

    def clear(self) -> None:
        """Settle nothing any more."""
        self.slots.clear()
        self.zeroed.clear()
        self.free.clear()
        self.marks.clear()
        self.parents.clear()
