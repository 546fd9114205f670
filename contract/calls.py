"""The calls that change the rights of a program at its pages, by name; all others promise no change.

A call is judged by its arguments and by the regions that earlier calls have made.
The work of the memory manager is not used, except for the results of a system call: the child of a fork, and the end of
an address space.
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
"""The operations that promise the program that its pages do not change."""


def call_of(name: str) -> int:
    """Return the call that an operation of this name makes, NO_CALL if it changes nothing for a program.

    Errors: ValueError, for a name that is neither, so that a new operation is not forgotten.
    """
    if name in _CHANGES_NOTHING:
        return NO_CALL
    if name not in _CHANGES:
        message = f"contract/calls.py does not say whether {name} changes what a program may do"
        raise ValueError(message)
    return _CHANGES[name]


class Call(Plain):
    """A call in flight on a CPU, and the changes that it settles when it closes; no call if its kind is NO_CALL.

    It waits while its CPU still has the call's first step, `top`, in the place where it was when the call began: the
    `depth`-th from the bottom.
    """

    def __init__(self, known: "Call | None" = None) -> None:
        self.kind: int = known.kind if known else NO_CALL
        # The address space that a fork has returned, or that an exit has ended.
        self.child: int = known.child if known else NO_CHILD
        self.cpu: int = known.cpu if known else 0
        self.mm: int = known.mm if known else 0
        self.page: int = known.page if known else 0
        self.count: int = known.count if known else 0
        self.arg: int = known.arg if known else 0
        self.depth: int = known.depth if known else 0
        self.sequence: int = known.sequence if known else 0
        # For a fork: an address space was free when it began, and no other fork has taken it since.
        self.room: bool = known.room if known else False
        self.top: tuple[int, ...] = known.top if known else ()
        # The slots that it has given a new region.
        self.slots: list[int] = known.slots.copy() if known else []
        # The registers that it sets to zero, and whether it promises that.
        self.zeroed: list[tuple[int, bool]] = known.zeroed.copy() if known else []
        # The registers that it gives up (MADV_FREE).
        self.free: list[int] = known.free.copy() if known else []
        # The slots whose write-protection for userfaultfd it changes, and their marks after it has closed.
        self.marks: list[tuple[int, int]] = known.marks.copy() if known else []
        # For a fork: the private pages of the parent with their registers; those of the child begin at `child_first`.
        self.parents: list[tuple[int, int]] = known.parents.copy() if known else []
        self.child_first: int = known.child_first if known else 0

    def copy(self) -> "Call":
        """Return an equal call that shares no mutable state with this one."""
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
        """Make this object the call that begins."""
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
        """Forget all changes that the call was to settle."""
        self.slots.clear()
        self.zeroed.clear()
        self.free.clear()
        self.marks.clear()
        self.parents.clear()
