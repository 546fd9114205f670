"""The declaration of an operation, once, beside its steps.

Everything else about operations is computed from it: the kinds of records and their words (scenario/kinds.py), the
operations that a CPU can begin (mm/operations.py), which of them can overlap, how often each is drawn and with which
others (fuzz/inputs), which are simpler (minimize), which a proof explores (prove/scope.py), and the rows of
docs/operations.md.
"""

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

from shootdown.mm.arguments import Argument

if TYPE_CHECKING:
    from shootdown.mm.world import World

Start = Callable[["World", int, int, int, int], None]
"""A function that pushes the first steps of an operation: world, CPU, first page, number of pages, argument."""
Pages = Literal["none", "one", "range"]
"""Whether an operation names no page, one page, or a range of consecutive pages."""


class Thread(Enum):
    """The kind of thread on whose behalf an operation runs."""

    USER = "a thread of the program"
    """A lazy CPU leaves lazy mode first."""
    KERNEL = "a kernel thread, an interrupt or the scheduler"
    """A lazy CPU stays lazy, or the operation switches it."""


class Lock(Enum):
    """The way in which an operation holds mmap_lock, which decides what can overlap with it."""

    NONE = "none"
    """The operation comes by the rmap, from the scheduler, or without a lock, and overlaps with everything."""
    VMA = "the lock of a VMA"
    """The lock is released before the flush: the operation overlaps with a writer of mmap_lock on another VMA, and
    later with every writer.
    """
    READ = "mmap_lock for reading, or the lock of a VMA"
    WRITE_THEN_READ = "mmap_lock for writing, then for reading"
    WRITE = "mmap_lock for writing"
    """The operation holds it from its first step to its last."""
    ALONE = "none, alone in its address space"
    """The operation begins only when nothing else runs in the address space."""


class Operation:
    """The declaration of one operation; a missing field raises TypeError when the module is imported.

    `number`: the byte in the binary form; append, never reorder, because stored scenarios keep it.
    `name`: the word in the text form.
    `start`: pushes its first steps.
    `summary`: one line for people.
    `pages`: whether it names pages.
    `argument`: its argument.
    `thread`: the thread that it runs in.
    `lock`: the way in which it holds mmap_lock.
    `access`: it is an instruction of a program, which makes no call.
    `rank`: its simplicity for a reader; 0 is an access, 1 is known to every reader, 5 is done by the kernel alone.
    `weight`: how often a record that is drawn alone has this kind, relative to the weights of the others.
    `layouts`: words of the header's field of that name; it finds nothing unless one of them is mapped; () for any.
    `needs`: the operations without which it is refused without effect, or makes no difference.
    `shares`: the states that it shares with others, in words of fuzz/inputs/themes.py; a race is between two that do.
    `holds_page`: it has a reference of a page while it is in flight.
    `simpler_as`: other operations that the minimizer tries in its place, on the same pages: they are simpler, or do
    with less (a page that numa_scan protects needs no uffd_register, a lazy CPU needs no second space).
    """

    __slots__ = (
        "access",
        "argument",
        "holds_page",
        "kernel",
        "layouts",
        "lock",
        "name",
        "needs",
        "number",
        "pages",
        "rank",
        "shares",
        "simpler_as",
        "start",
        "summary",
        "weight",
    )

    def __init__(
        self,
        *,
        number: int,
        name: str,
        start: Start,
        summary: str,
        pages: Pages,
        argument: Argument,
        thread: Thread,
        lock: Lock,
        access: bool,
        rank: int,
        weight: int,
        layouts: tuple[str, ...],
        needs: tuple[str, ...],
        shares: tuple[str, ...],
        holds_page: bool,
        simpler_as: tuple[str, ...],
    ) -> None:
        self.number = number
        self.name = name
        self.start = start
        self.summary = summary
        self.pages: Pages = pages
        self.argument = argument
        self.kernel = thread is Thread.KERNEL
        self.lock = lock
        self.access = access
        self.rank = rank
        self.weight = weight
        self.layouts = layouts
        self.needs = needs
        self.shares = shares
        self.holds_page = holds_page
        self.simpler_as = simpler_as
        for other in DECLARED:
            if other.number == number or other.name == name:
                message = (
                    f"{name} ({number}) has a number or a name of {other.name} ({other.number})"
                )
                raise ValueError(message)
        DECLARED.append(self)


DECLARED: Final[list[Operation]] = []
"""Every operation whose module has been imported; mm/operations.py imports all of them."""
