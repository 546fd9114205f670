"""What the driver executes: one command for each operation of a scenario, and the result of each.

The numbers come from driver.c, which is read here so that they are written down only once.
"""

import errno
import re
import struct
from importlib.resources import files
from typing import Final, NamedTuple

SOURCE: Final = files(__package__).joinpath("driver.c").read_text()


def _members(name: str) -> tuple[str, ...]:
    """Return the members of an enum of driver.c in order."""
    match = re.search(rf"enum {name} {{([^}}]*)}}", SOURCE)
    assert match is not None, "driver.c defines it"  # noqa: S101 - the reason is its own
    return tuple(member.split("=")[0].strip() for member in match[1].split(","))


def constant(name: str) -> int:
    """Return the value that driver.c gives a constant."""
    match = re.search(rf"\b{name} = (\w+)", SOURCE)
    assert match is not None, "driver.c defines it"  # noqa: S101 - the reason is its own
    return int(match[1], 0)


OPERATIONS: Final = {name: i for i, name in enumerate(_members("operation")[:-1])}
STATUSES: Final = _members("status")
DONE: Final = "DONE"
FAILED: Final = "FAILED"
HAS_PAGEMAP: Final = constant("HAS_PAGEMAP")
HAS_UFFD: Final = constant("HAS_UFFD")
HAS_UFFD_SHMEM: Final = constant("HAS_UFFD_SHMEM")
HAS_FILE: Final = constant("HAS_FILE")
HAS_COUNTERS: Final = constant("HAS_COUNTERS")
HAS_EXEC: Final = constant("HAS_EXEC")
VERSION: Final = constant("VERSION")
MOST_COMMANDS: Final = constant("MAX_COMMANDS")
"""The limit for one program."""

REFUSED: Final = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.EAGAIN,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.ENOSYS,
    }
)
"""Errors of system calls that say nothing about page tables, but that this host does not let the program run."""
STARVED: Final = frozenset({"FORK", "MMAP", "RESET"})
"""The operations for which ENOMEM says the same; for mprotect and madvise it means a hole in the range."""

COMMAND: Final = struct.Struct("=9B7xQ")
RESULT: Final = struct.Struct("4BiQ")
REQUEST: Final = struct.Struct("2I")
HELLO: Final = struct.Struct("4I")
ENDED: Final = struct.Struct("I124s")


class Command(NamedTuple):
    """One operation.

    `space`, `cpu`: the address space and the CPU that execute it.
    `value`: what a store stores.
    """

    operation: str
    space: int
    cpu: int
    page: int = 0
    pages: int = 1
    argument: int = 0
    target: int = 0
    value: int = 0
    races: bool = False
    """Another thread repeats an access during this command."""
    counts: bool = False
    """The value of the result is what was flushed (`flushed`)."""

    def packed(self) -> bytes:
        """Return the command in the form that driver.c reads."""
        operation, *fields, value, races, counts = self
        return COMMAND.pack(OPERATIONS[operation], *fields, races, counts, value)


class Result(NamedTuple):
    """What a command showed; `present` and `protected` have a bit for each page of its address space, from pagemap."""

    status: str
    value: int
    error: int
    present: int
    protected: int


def result_of(data: bytes) -> Result:
    """Return the result in an answer of the driver."""
    status, present, protected, _, error, value = RESULT.unpack(data)
    return Result(STATUSES[status], value, error, present, protected)
