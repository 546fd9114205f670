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

    def __init__(self) -> None:
        self.kind = NO_CALL
        # Of a fork the address space that it has returned, of an exit the one that has ended.
        self.child = NO_CHILD
        self.cpu = self.mm = self.page = self.count = self.arg = self.depth = self.sequence = 0
        # Of a fork: an address space was free when it began, and no other fork has taken it since.
        self.room = False
        self.top: tuple[int, ...] = ()
        # Slots of which it has made a new region.
        self.slots: list[int] = []
        # Registers that it makes zeros of, and whether it promises so.
        self.zeroed: list[tuple[int, bool]] = []
        # Registers that it lets go (MADV_FREE).
        self.free: list[int] = []
        # Slots that it write-protects for userfaultfd or the contrary, and what they are when it has closed.
        self.marks: list[tuple[int, int]] = []
        # Of a fork: the private pages of the parent with their registers; those of the child follow from `child_first`.
        self.parents: list[tuple[int, int]] = []
        self.child_first = 0

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
