"""Every operation, over every state of an entry, visits what the table of docs/correctness.md says that it denies."""

import re
from collections.abc import Callable

import pytest

from shootdown.machine.entry import DIRTY, PRESENT, PROTNONE
from shootdown.machine.geometry import FANOUT, PAGES
from shootdown.mm.huge_zero import is_huge_zero
from shootdown.mm.operations import BY_NAME
from shootdown.mm.tables import is_migration, is_swap, leaf_of, pmd_of
from shootdown.mm.world import World
from shootdown.scenario import kinds
from tests.kernel import Kernel, R, W, X, prot
from tests.promises import ALL, TABLE, Case, denied

KERNEL_THREAD = 2
"""The CPU that brings entries into states in which they wait for something; programs run on CPU 0."""

# States of the entry of page 0.

State = Callable[[Kernel], None]


def touched(k: Kernel) -> None:
    """Make a page table, with nothing at page 0."""
    k.write(0, 1)


def clean(k: Kernel) -> None:
    """Read the page in from swap, so that it is clean."""
    k.write(0)
    k.run(KERNEL_THREAD, "swapout")
    k.read(0)
    assert k.pte() & (PRESENT | DIRTY) == PRESENT


def fresh(k: Kernel) -> None:
    """Let the program write the page."""
    k.write(0)


def read(k: Kernel) -> None:
    """Map the zero page in private memory; otherwise a clean page."""
    k.read(0)


def forked(k: Kernel) -> None:
    """Share the page with a child, so that a store copies it."""
    k.write(0)
    k.run(0, "fork")


def in_swap(k: Kernel) -> None:
    """Make a swap entry; for the file, nothing."""
    k.write(0)
    k.run(KERNEL_THREAD, "swapout")
    assert is_swap(k.pte()) or not k.pte()


def in_swap_cache(k: Kernel) -> None:
    """Make a swap entry whose folio is still cached, and whose flush is still to come."""
    k.write(0)
    k.start(KERNEL_THREAD, "swapout", until="try_to_unmap_flush_dirty")
    assert is_swap(k.pte()) or not k.pte()


def migrating(k: Kernel) -> None:
    """Make a migration entry, whose flush is still to come."""
    k.write(0)
    k.start(KERNEL_THREAD, "migrate", until="flush before copy")
    assert is_migration(k.pte())


def hinted(k: Kernel) -> None:
    """Make the entry PROTNONE in a region that allows the access."""
    k.write(0)
    k.run(KERNEL_THREAD, "writeback")
    k.run(0, "numa_scan", 0, FANOUT)
    assert k.pte() & PROTNONE or k.pmd() & PROTNONE


def twice(k: Kernel) -> None:
    """Give two pages one content."""
    k.write(0)
    k.run(0, "copy", 0, arg=1)


def hole(k: Kernel) -> None:
    """Leave no region, in a table that others use."""
    k.write(0)
    k.write(0, 2)
    k.run(0, "munmap")


def before_a_hole(k: Kernel) -> None:
    """Let the program write the page, with no region in the other table."""
    k.write(0)
    k.write(0, FANOUT)
    k.run(0, "munmap", FANOUT, FANOUT)


def split(k: Kernel) -> None:
    """Map a huge page by small entries."""
    k.write(0)
    k.run(0, "mprotect", 0, 1, R)
    k.run(0, "mprotect", 0, 1, R | W)
    assert k.pte() & PRESENT


def nothing(_k: Kernel) -> None:
    """Leave no page table."""


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
"""The arguments of operations that take some, except those that take an address space, which is 0."""


def snapshot(w: World) -> tuple[list[int], list[int], list[int], list[bool]]:
    """Return regions, leaf entries and entries of the PMD table of address space 0, and which of these map the huge
    zeros.
    """
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
        # The other CPUs run an address space that stays alive.
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
    """Return the kinds that the operation of CPU 0 has denied, by page of address space 0."""
    kinds_of: dict[int, int] = {}
    for cpu, mm, page, deny in k.journal.visited:
        if cpu == 0 and mm == 0 and deny:
            kinds_of[page] = kinds_of.get(page, 0) | deny
    return dict(sorted(kinds_of.items()))


def test_every_operation_has_a_row() -> None:
    """The rows name each operation, and nothing else."""
    assert {name for names, _, _ in TABLE for name in names} == BY_NAME.keys()


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


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize(
    ("layout", "machine", "state"),
    [
        pytest.param(*each, id=f"{each[0]}-{'zeros' if each[1] else each[2].__name__}")
        for each in STATES
    ],
)
def test_what_is_denied_is_visited(layout: str, machine: int, state: State, name: str) -> None:
    """For one page and for a whole table, with every argument, the walk visits everything that the table denies, and
    nothing more.
    """
    for count in (1, FANOUT):
        for arg in CALLS.get(name, [0]):
            case, k = ran(layout, machine, state, name, count, arg)

            assert visited(k) == denied(case), f"{name} of {count} pages with {arg}"
