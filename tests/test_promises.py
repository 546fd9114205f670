"""Every operation, over every state of an entry, visits what the table of docs/correctness.md section 1 says it denies.

What is asked of an operation comes from the table, its arguments, the regions, and the entries before and after it;
never from what its walk visited.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fuzz.scenario import kinds
from machine.entry import DIRTY, PRESENT, PROTNONE, PSE, RW
from machine.geometry import FANOUT, PAGES, frame_of
from mm.huge_zero import is_huge_zero
from mm.operations import STARTS
from mm.tables import is_migration, is_swap, leaf_of, pmd_of, rights
from mm.world import (
    VM_FILE,
    VM_MAPPED,
    VM_PFNMAP,
    VM_PGOFF_SHIFT,
    VM_PKEY,
    VM_SHARED,
    VM_UFFD_WP,
    VM_WRITE,
    World,
)
from tests.kernel import Kernel, R, W, X, prot

ALL = R | W | X
KERNEL_THREAD = 2
"""The CPU that brings entries into the states in which they wait for something; programs run on CPU 0."""


def table() -> list[tuple[list[str], str, str]]:
    """Each row of the table: the operations, which part of them the row is about, and what it denies."""
    page = (Path(__file__).parent.parent / "docs" / "correctness.md").read_text()
    lines = (
        page.split("| operation | deny | closes | identity |\n")[1]
        .split("\n\n")[0]
        .splitlines()[1:]
    )
    found = []
    for line in lines:
        what, deny, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        names = re.findall(r"`(\w+)`", what.split(": as")[0])
        part = re.sub(r"`\w+`(, )?|^[,:]+ *", "", what).strip(" ,:")
        found.append((names, part, deny))
    return found


TABLE = table()


@dataclass
class Case:
    """One run: the operation's range and argument; regions and leaf entries of address space 0 before and behind it."""

    name: str
    first: int
    count: int
    arg: int
    vma: list[int]
    vma_behind: list[int]
    leaf: list[int]
    leaf_behind: list[int]
    tables: list[int]
    tables_behind: list[int]
    zeros: list[bool]

    @property
    def range(self) -> range:
        """The pages of the arguments."""
        return range(self.first, self.first + self.count)

    def replaced(self, page: int) -> bool:
        """Whether the page was mapped before and behind, to different frames."""
        old, new = self.leaf[page], self.leaf_behind[page]
        mapped = old & (PRESENT | PROTNONE) and new & (PRESENT | PROTNONE)
        return bool(mapped) and frame_of(old) != frame_of(new)


def regions_of_range(case: Case) -> list[int]:
    """The regions that the range is in, page by page."""
    return [case.vma[page] for page in case.range]


def is_refused(case: Case) -> bool:
    """Whether the operation has no effect, by the regions that its range is in."""
    regions = regions_of_range(case)
    whole = all(vma & VM_MAPPED for vma in regions)
    if case.name == "dontneed":
        return not whole or any(vma & VM_PFNMAP for vma in regions)
    if case.name == "free":
        return not whole or any(vma & VM_SHARED for vma in regions)
    if case.name == "mmap":
        return any(regions)
    if case.name == "mremap":
        return not whole
    if case.name == "uffd_wp":
        return not all(vma & VM_UFFD_WP for vma in regions)
    if case.name == "collapse":
        index = case.first // FANOUT
        return bool(case.tables[index] & PSE) or not case.tables_behind[index] & PSE
    return False


Pages = Callable[[Case], range | list[int]]


def pages_of_operation(case: Case) -> range | list[int]:
    """The pages that a row without a part is about."""
    if case.name in {"munmap", "dontneed", "mprotect", "pkey_mprotect", "mmap", "uffd_wp", "free"}:
        return case.range
    if case.name == "collapse":
        first = case.first // FANOUT * FANOUT
        return range(first, first + FANOUT)
    return range(PAGES)


def replaced(case: Case) -> range | list[int]:
    """The pages that map another frame than before."""
    return [page for page in range(PAGES) if case.replaced(page)]


PARTS: dict[str, Pages] = {
    "": pages_of_operation,
    "old range": lambda case: case.range,
    "target range": lambda case: range(case.arg, case.arg + case.count),
    "first touch, reuse, NUMA hint, spurious fault": lambda _: [],
    "copy-on-write break": replaced,
    "as a  and a": replaced,
    "and what a hint fault migrates": lambda _: [],
}


def lost(case: Case, page: int) -> int:
    """What the region allowed before, and does not behind."""
    return rights(case.vma[page]) & ~rights(case.vma_behind[page])


def lost_to_key(case: Case, page: int) -> int:
    """The same; and loads and stores, where the key is another one."""
    other = (case.vma[page] ^ case.vma_behind[page]) & VM_PKEY
    return lost(case, page) | (rights(case.vma[page]) & (R | W) if other else 0)


def of_fork(case: Case, page: int) -> int:
    """Stores to private pages of writable regions."""
    return W if case.vma[page] & (VM_SHARED | VM_WRITE) == VM_WRITE else 0


def of_merge(case: Case, page: int) -> int:
    """All of the page that was merged, stores of the one that has stayed."""
    gone = [other for other in range(PAGES) if case.replaced(other)]
    if page in gone:
        return ALL
    stays = {frame_of(case.leaf_behind[other]) for other in gone}
    return W if case.leaf[page] & PRESENT and frame_of(case.leaf[page]) in stays else 0


def of_file(case: Case, page: int) -> bool:
    """Whether the region is of the file's page that the operation names."""
    vma = case.vma[page]
    return bool(vma & VM_FILE) and vma >> VM_PGOFF_SHIFT == PAGES + case.first


def of_driver(case: Case, page: int) -> bool:
    """Whether the region is of one of the driver's pages that the operation names."""
    vma = case.vma[page]
    return bool(vma & VM_PFNMAP) and vma >> VM_PGOFF_SHIFT in case.range


def cleaned(case: Case, page: int) -> int:
    """Stores, where writeback has made an entry clean and read-only."""
    taken = case.leaf[page] & ~case.leaf_behind[page] & (RW | DIRTY)
    return W if of_file(case, page) and case.leaf[page] & PRESENT and taken else 0


DENIES: dict[str, Callable[[Case, int], int]] = {
    "none": lambda _case, _page: 0,
    "r, w, x": lambda _case, _page: ALL,
    "r, w, x, on the pages of a region": lambda case, page: ALL if case.vma[page] else 0,
    "the kinds that the region loses": lost,
    "as `mprotect`; r and w where the key changes": lost_to_key,
    "w, on the parent's private pages in writable regions": of_fork,
    "w": lambda _case, _page: W,
    "r, w, x, where it drops a swap entry": lambda case, page: ALL * is_swap(case.leaf[page]),
    "w, on both pages; r, w, x on the one that maps another frame": of_merge,
    "as there": lambda _case, _page: ALL,
    "w, on every page but a driver's": lambda case, page: 0 if case.vma[page] & VM_PFNMAP else W,
    "w, where it write-protects an entry": cleaned,
    "r, w, x, in every region of the page of the file": lambda case, page: (
        ALL * of_file(case, page)
    ),
    "r, w, x, in every region of a driver's page": lambda case, page: ALL * of_driver(case, page),
}
"""What each cell of the table means; a cell with other words is an error here."""


def denied(case: Case) -> dict[int, int]:
    """The kinds that the operation denies by the table, for each page of which there are any."""
    kinds_of: dict[int, int] = {}
    for names, part, deny in TABLE:
        if case.name in names and not is_refused(case):
            means = DENIES["none" if re.match(r"none\b", deny) else deny]
            for page in PARTS[part](case):
                kinds_of[page] = kinds_of.get(page, 0) | means(case, page)
    # Part of any operation: the split of the huge zero page, whose pages become others.
    for page in range(PAGES):
        index = page // FANOUT
        split = case.zeros[index] and case.tables_behind[index] & (PRESENT | PSE) == PRESENT
        if split:
            kinds_of[page] = ALL
    return {page: allowed for page, allowed in sorted(kinds_of.items()) if allowed}


# States of the entry of page 0.

State = Callable[[Kernel], None]


def touched(k: Kernel) -> None:
    """A page table, and nothing at page 0."""
    k.write(0, 1)


def clean(k: Kernel) -> None:
    """What is read in from swap is clean."""
    k.write(0)
    k.run(KERNEL_THREAD, "swapout")
    k.read(0)
    assert k.pte() & (PRESENT | DIRTY) == PRESENT


def fresh(k: Kernel) -> None:
    """Written by the program."""
    k.write(0)


def read(k: Kernel) -> None:
    """The zero page, of private memory; else a clean page."""
    k.read(0)


def forked(k: Kernel) -> None:
    """Shared with a child, to be copied."""
    k.write(0)
    k.run(0, "fork")


def in_swap(k: Kernel) -> None:
    """A swap entry; of the file nothing."""
    k.write(0)
    k.run(KERNEL_THREAD, "swapout")
    assert is_swap(k.pte()) or not k.pte()


def in_swap_cache(k: Kernel) -> None:
    """A swap entry whose folio is still there, and whose flush is to come."""
    k.write(0)
    k.start(KERNEL_THREAD, "swapout")
    k.until(KERNEL_THREAD, "try_to_unmap_flush_dirty")
    assert is_swap(k.pte()) or not k.pte()


def migrating(k: Kernel) -> None:
    """A migration entry, whose flush is to come."""
    k.write(0)
    k.start(KERNEL_THREAD, "migrate")
    k.until(KERNEL_THREAD, "flush before copy")
    assert is_migration(k.pte())


def hinted(k: Kernel) -> None:
    """PROTNONE in a region that allows the access."""
    k.write(0)
    k.run(KERNEL_THREAD, "writeback")
    k.run(0, "numa_scan", 0, FANOUT)
    assert k.pte() & PROTNONE or k.pmd() & PROTNONE


def twice(k: Kernel) -> None:
    """Two pages of one content."""
    k.write(0)
    k.run(0, "copy", 0, arg=1)


def hole(k: Kernel) -> None:
    """No region, in a table that others use."""
    k.write(0)
    k.write(0, 2)
    k.run(0, "munmap")


def before_a_hole(k: Kernel) -> None:
    """Written by the program, and no region in the other table."""
    k.write(0)
    k.write(0, FANOUT)
    k.run(0, "munmap", FANOUT, FANOUT)


def split(k: Kernel) -> None:
    """A huge page that is mapped by small entries."""
    k.write(0)
    k.run(0, "mprotect", 0, 1, R)
    k.run(0, "mprotect", 0, 1, R | W)
    assert k.pte() & PRESENT


def nothing(_k: Kernel) -> None:
    """No page table."""


ZEROS = kinds.HUGE_ZERO
STATES: list[tuple[str, int, State]] = [
    *[("private", 0, state) for state in (nothing, touched, read, clean, fresh, forked, in_swap)],
    *[
        ("private", 0, state)
        for state in (in_swap_cache, migrating, hinted, twice, hole, before_a_hole)
    ],
    *[("shared", 0, state) for state in (nothing, touched, read, fresh, migrating, hinted)],
    *[("file", 0, state) for state in (nothing, touched, read, fresh, in_swap, in_swap_cache)],
    *[("file", 0, state) for state in (migrating, hinted)],
    *[("pfnmap", 0, state) for state in (nothing, touched, read, fresh, hole)],
    *[("huge", 0, state) for state in (nothing, fresh, forked, hinted, split)],
    ("huge", ZEROS, read),
    ("readonly", 0, nothing),
    ("readonly", 0, read),
]

CALLS: dict[str, list[int]] = {
    "mprotect": [0, R, R | X, ALL],
    "pkey_mprotect": [R | 1 << kinds.PKEY_SHIFT, R | W | 1 << kinds.PKEY_SHIFT],
    "mmap": [prot(R | W)],
    "mremap": [FANOUT],
    "copy": [2],
}
"""The arguments of operations that take some, but for those that take an address space, which is 0."""


def snapshot(w: World) -> tuple[list[int], list[int], list[int], list[bool]]:
    """Regions, leaf entries and entries of the PMD table of address space 0, and which of these map the huge zeros."""
    if w.root[0] < 0:
        return [0] * PAGES, [0] * PAGES, [0, 0], [False, False]
    leaves = [leaf_of(w, 0, page) for page in range(PAGES)]
    tables = [pmd_of(w, 0, index) for index in range(2)]
    return w.vma[0].copy(), leaves, tables, [is_huge_zero(w, pmd) for pmd in tables]


def ran(
    layout: str, machine: int, state: State, name: str, count: int, arg: int
) -> tuple[Case, Kernel]:
    """Bring page 0 into the state, and run the operation on it."""
    k = Kernel(cpus=3, pages=PAGES, layout=layout, machine=machine)
    if name == "uffd_wp":
        k.run(0, "uffd_register", 0, PAGES)
    if name == "exit":
        # The other CPUs run a space that goes on.
        k.run(0, "fork")
        for cpu in (1, 2):
            k.run(cpu, "switch", arg=1)
    state(k)
    vma, leaf, tables, zeros = snapshot(k.w)
    k.journal.visited.clear()
    k.run(0, name, 0, count, arg)
    vma_behind, leaf_behind, tables_behind, _ = snapshot(k.w)
    return (
        Case(name, 0, count, arg, vma, vma_behind, leaf, leaf_behind, tables, tables_behind, zeros),
        k,
    )


def visited(k: Kernel) -> dict[int, int]:
    """The kinds that the operation of CPU 0 has denied, by page of address space 0."""
    kinds_of: dict[int, int] = {}
    for cpu, mm, page, deny in k.journal.visited:
        if cpu == 0 and mm == 0 and deny:
            kinds_of[page] = kinds_of.get(page, 0) | deny
    return dict(sorted(kinds_of.items()))


def test_every_operation_has_a_row() -> None:
    """The rows name each operation, and nothing else."""
    assert {name for names, _, _ in TABLE for name in names} == STARTS.keys()


DENYING = {name for names, _, deny in TABLE for name in names if not re.match(r"none\b", deny)}


@pytest.mark.parametrize("name", sorted(DENYING))
def test_some_state_shows_what_is_denied(name: str) -> None:
    """No operation is refused in every state; but an access copies only when it stores."""
    shown = any(
        denied(ran(*state, name, count, arg)[0])
        for state in STATES
        for count in (1, FANOUT)
        for arg in CALLS.get(name, [0])
    )

    assert shown == (name not in {"read", "exec"})


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize(
    ("layout", "machine", "state"),
    [
        pytest.param(*each, id=f"{each[0]}-{'zeros' if each[1] else each[2].__name__}")
        for each in STATES
    ],
)
def test_what_is_denied_is_visited(layout: str, machine: int, state: State, name: str) -> None:
    """For one page and for a whole table, with every argument: all that the table denies, and nothing more."""
    for count in (1, FANOUT):
        for arg in CALLS.get(name, [0]):
            case, k = ran(layout, machine, state, name, count, arg)

            assert visited(k) == denied(case), f"{name} of {count} pages with {arg}"
