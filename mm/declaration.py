"""What an operation says of itself, once, beside its steps.

Everything else that concerns operations is computed from it: the kinds of records and their words (scenario/kinds.py),
what a CPU can begin (mm/operations.py), what can overlap with what, how often each is drawn and with which others
(fuzz/inputs), what is simpler (minimize), what a proof explores (prove/scope.py), and the rows of docs/operations.md.
"""

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

from shootdown.mm.arguments import Argument

if TYPE_CHECKING:
    from shootdown.mm.world import World

Start = Callable[["World", int, int, int, int], None]
"""Pushes the first steps of an operation: world, CPU, first page, number of pages, argument."""
Pages = Literal["none", "one", "range"]
"""Whether an operation names no page, one page, or a range of consecutive pages."""


class Thread(Enum):
    """On whose behalf an operation runs."""

    USER = "a thread of the program"
    """A lazy CPU leaves lazy mode first."""
    KERNEL = "a kernel thread, an interrupt or the scheduler"
    """A CPU that is lazy stays so, or is switched by the operation."""


class Lock(Enum):
    """What an operation holds of mmap_lock, and so what can overlap with it."""

    NONE = "none"
    """It comes by the rmap, from the scheduler, or without any lock, and overlaps with everything."""
    VMA = "the lock of a VMA"
    """Not during its flush: it overlaps with a writer of mmap_lock on another VMA, and later with every one."""
    READ = "mmap_lock for reading, or the lock of a VMA"
    WRITE_THEN_READ = "mmap_lock for writing, then for reading"
    WRITE = "mmap_lock for writing"
    """From its first step to its last."""
    ALONE = "none, alone in its address space"
    """It begins only when nothing else runs in the address space."""


class Operation:
    """One operation. A field that is not given is a TypeError when the module is imported.

    number: the byte in the binary form; append, never reorder, or what is stored means something else.
    name: the word in the text form. summary: one line for people.
    access: it is an instruction of a program, which calls nobody.
    rank: how simple a reader finds it; 0 is an access, 1 what every reader knows, 5 what the kernel does by itself.
    weight: how often a record drawn by itself is one of these, beside the weights of the others.
    layouts: words of the header's field of that name, one of which must be mapped for it to find anything; () for any.
    needs: the operations without which it is refused with no effect, or makes no difference.
    shares: the states that it has in common with others, words of fuzz/inputs/themes.py; a race is between two that do.
    holds_page: it has a reference of a page while it is in flight.
    simpler_as: other operations that the minimizer tries in its place, on the same pages: simpler by themselves, or by
    what they do without (a page that numa_scan protects needs no uffd_register, a CPU that is lazy no second space).
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
