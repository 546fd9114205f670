"""The state of a strategy that runs a kernel's own text.

What the text keeps is in the memory of its library, which has one state at a time: the state of another world waits as
bytes. Of the fields of X86State only the deferred ranges and the halves of tlb_flush_batched are used, which the text
does not have.

A proof cannot know what a text does with its variables: it may add some, count, or compare a generation with a number.
So a key has all of the text's memory as it is, and nothing that the text may have a copy of gets another name: no CPU,
no frame, no generation.
"""

from collections.abc import Iterable
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from shootdown.kernel.library import Library, Part
from shootdown.mm.flush import Walk
from shootdown.optimized.shootdown import CEILING
from shootdown.optimized.state import FIRST_GLOBAL, X86State

_NOT_IN_KEY: Final = frozenset(
    {
        "library",
        "part",
        "is_shared",
        "cpus",
        "asids",
        "batch",
        "broadcasts",
        # What the text has of its own.
        "tlb_gen",
        "cpumask",
        "pending",
        "unmap_mask",
        "asid",
        "next_asid",
        "ctx_mm",
        "ctx_gen",
        "gathers",
        "global_asid",
        "transition",
    }
)
"""The fields that a key does not have, because it has all that is in the library, or because no run changes them."""
_IN_KEY: Final[list[str]] = []
"""All other fields."""


@mypyc_attr(allow_interpreted_subclasses=True)
class KernelState(X86State):
    """The state of the text for one world.

    `library`: the text's library.
    `part`: its part in the library, or the bytes that wait while another world's is in it.
    `is_shared`: a copy may have the same part, which has been equal since.
    `broadcasts`: the processor has INVLPGB.
    `tables`: by frame, the space and the index of a page table that a gather is to free.
    `unmapping`: the CPUs whose task may have unmaps in its batch, one bit each.
    `gather_mm`: for each CPU, the space of its open gather, -1 for none.
    `gather_pages`: for each CPU, the pages in its gather: the first frame, and the number of frames.
    """

    opaque: ClassVar[bool] = True

    def __init__(
        self,
        library: Library,
        cpus: int,
        asids: int,
        batch: int,
        known: "KernelState | None" = None,
    ) -> None:
        super().__init__(cpus, asids, batch, known)
        self.library = library
        self.cpus = cpus
        self.part: Part = known.part if known else Part()
        self.is_shared: bool = known is not None
        self.broadcasts: bool = known.broadcasts if known else False
        self.tables: dict[int, tuple[int, int]] = known.tables.copy() if known else {}
        self.unmapping: int = known.unmapping if known else 0
        self.gather_mm: list[int] = known.gather_mm.copy() if known else [-1] * cpus
        self.gather_pages: list[list[tuple[int, int]]] = (
            [one.copy() for one in known.gather_pages] if known else [[] for _ in range(cpus)]
        )

    def copy(self) -> "KernelState":
        """Return an equal state, which shares the part in the library until one of the two changes it."""
        self.is_shared = True
        return KernelState(self.library, self.cpus, self.asids, self.batch, self)

    def key(self) -> tuple[object, ...]:
        """Return a hashable value, equal for equal states, also in another process."""
        return self._digest(), tuple(self._numbers())

    def write(self, walk: Walk, cpus: int) -> None:
        """Write all of the state, without a new name for anything."""
        del cpus
        walk.write(*self._digest(), *self._numbers())

    def _digest(self) -> tuple[int, ...]:
        part = self.part
        if not part.digest:
            self.enter()
            part.digest = self.library.digest()
        return part.digest

    def _numbers(self) -> list[int]:
        """Return the fields that are in a key, each with the same numbers for equal values only."""
        if not _IN_KEY:
            _IN_KEY.extend([name for name in self.fields() if name not in _NOT_IN_KEY])
        numbers: list[int] = []
        for name in _IN_KEY:
            _add(getattr(self, name), numbers)
        return numbers

    def change(self) -> None:
        """Make the library's state this one, which is about to change."""
        self.enter()
        if self.is_shared:
            self.is_shared = False
            # The library's state is that of both parts; a copy that still has the old one finds it saved.
            self.part = Part()
            self.library.make_live(self.part)
        self.part.newer = True
        self.part.digest = ()

    def enter(self) -> None:
        """Make the library's state this one."""
        library = self.library
        if library.live is not self.part:
            library.make_live(self.part)
            if self.part.saved:
                library.load(self.part.saved)
            else:
                library.boot(self.cpus, broadcasts=self.broadcasts, ceiling=CEILING)

    def pcid_of(self, asid: int) -> int:
        """Return the number under which the machine knows an ASID of the text: global ones follow all others here."""
        return asid if asid < self.asids else FIRST_GLOBAL + asid - self.asids

    def asid_of(self, pcid: int) -> int:
        """Return the ASID of the text for a number of the machine."""
        return pcid if pcid < FIRST_GLOBAL else pcid - FIRST_GLOBAL + self.asids

    def count_open(self, mm: int) -> int:
        """Return tlb_flush_pending of the address space."""
        self.enter()
        count: int = self.library.c.kernel_pending(mm)
        return count


def _add(value: object, numbers: list[int]) -> None:
    """Append a number, or the length and the elements of a list, a tuple or a dictionary."""
    if isinstance(value, int):
        numbers.append(value)
        return
    # What is no number is a list, a tuple or a dictionary; the type of a field read by its name is not known.
    elements: Iterable[object] = value.items() if isinstance(value, dict) else value  # type: ignore[assignment]
    at = len(numbers)
    numbers.append(0)
    for element in elements:
        _add(element, numbers)
        numbers[at] += 1
