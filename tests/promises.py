"""What an operation denies, according to the table of docs/correctness.md section 1: what its walk has to visit.

This comes from the table, the arguments, the regions, and the entries before and after, never from the walk.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shootdown.machine.entry import DIRTY, PRESENT, PROTNONE, PSE, RW
from shootdown.machine.geometry import FANOUT, PAGES, frame_of
from shootdown.mm.state import (
    VM_FILE,
    VM_PFNMAP,
    VM_PGOFF_SHIFT,
    VM_PKEY,
    VM_SHARED,
    VM_UFFD_WP,
    VM_WRITE,
)
from shootdown.mm.tables import is_swap, rights
from tests.kernel import R, W, X

ALL = R | W | X


def table() -> list[tuple[list[str], str, str]]:
    """Return each row of the table: the operations, which part of them the row is about, and what it denies."""
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
    """One run: the operation's range and argument; regions and leaf entries of address space 0 before and after it."""

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
        """Return the pages of the arguments."""
        return range(self.first, self.first + self.count)

    def replaced(self, page: int) -> bool:
        """Return whether the page was mapped before and after, to different frames."""
        old, new = self.leaf[page], self.leaf_behind[page]
        mapped = old & (PRESENT | PROTNONE) and new & (PRESENT | PROTNONE)
        return bool(mapped) and frame_of(old) != frame_of(new)


def regions_of_range(case: Case) -> list[int]:
    """Return the regions that the range is in, page by page."""
    return [case.vma[page] for page in case.range]


def is_refused(case: Case) -> bool:
    """Return whether the operation has no effect, by the regions that its range is in."""
    if case.name == "mmap":
        return any(regions_of_range(case))
    if case.name == "collapse":
        index = case.first // FANOUT
        return bool(case.tables[index] & PSE) or not case.tables_behind[index] & PSE
    return False


def reached(case: Case, refuses: Callable[[int], bool]) -> list[int]:
    """Return the mapped pages of the range, up to the first whose region ends the call; holes are skipped."""
    pages: list[int] = []
    for page in case.range:
        vma = case.vma[page]
        if vma and refuses(vma):
            break
        if vma:
            pages.append(page)
    return pages


def moved(case: Case) -> list[int]:
    """Return the pages of the range whose regions have moved away."""
    return [page for page in case.range if case.vma[page] and not case.vma_behind[page]]


Pages = Callable[[Case], range | list[int]]


def pages_of_operation(case: Case) -> range | list[int]:
    """Return the pages for a row that names no part."""
    if case.name == "dontneed":
        return reached(case, lambda vma: bool(vma & VM_PFNMAP))
    if case.name == "free":
        return reached(case, lambda vma: bool(vma & VM_SHARED))
    if case.name == "uffd_wp":
        return reached(case, lambda vma: not vma & VM_UFFD_WP)
    if case.name in {"munmap", "mprotect", "pkey_mprotect", "mmap"}:
        return case.range
    if case.name == "collapse":
        first = case.first // FANOUT * FANOUT
        return range(first, first + FANOUT)
    return range(PAGES)


def replaced(case: Case) -> range | list[int]:
    """Return the pages that map another frame than before."""
    return [page for page in range(PAGES) if case.replaced(page)]


PARTS: dict[str, Pages] = {
    "": pages_of_operation,
    "old range": moved,
    "target range": lambda case: [case.arg + page - case.first for page in moved(case)],
    "first touch, reuse, NUMA hint, spurious fault": lambda _: [],
    "copy-on-write break": replaced,
    "as a  and a": replaced,
    "and what a hint fault migrates": lambda _: [],
}


def lost(case: Case, page: int) -> int:
    """Return what the region allowed before, and does not after."""
    return rights(case.vma[page]) & ~rights(case.vma_behind[page])


def lost_to_key(case: Case, page: int) -> int:
    """Return the same kinds; and loads and stores, if the key has changed."""
    other = (case.vma[page] ^ case.vma_behind[page]) & VM_PKEY
    return lost(case, page) | (rights(case.vma[page]) & (R | W) if other else 0)


def of_fork(case: Case, page: int) -> int:
    """Return the kinds that a fork denies: stores to private pages of writable regions."""
    return W if case.vma[page] & (VM_SHARED | VM_WRITE) == VM_WRITE else 0


def of_merge(case: Case, page: int) -> int:
    """Return the kinds that a merge denies: all for the page that was merged, stores for the one that stays."""
    gone = [other for other in range(PAGES) if case.replaced(other)]
    if page in gone:
        return ALL
    stays = {frame_of(case.leaf_behind[other]) for other in gone}
    return W if case.leaf[page] & PRESENT and frame_of(case.leaf[page]) in stays else 0


def of_file(case: Case, page: int) -> bool:
    """Return whether the region is of the file's page that the operation names."""
    vma = case.vma[page]
    return bool(vma & VM_FILE) and vma >> VM_PGOFF_SHIFT == PAGES + case.first


def of_driver(case: Case, page: int) -> bool:
    """Return whether the region is of one of the driver's pages that the operation names."""
    vma = case.vma[page]
    return bool(vma & VM_PFNMAP) and vma >> VM_PGOFF_SHIFT in case.range


def cleaned(case: Case, page: int) -> int:
    """Return stores, if writeback has made an entry clean and read-only."""
    taken = case.leaf[page] & ~case.leaf_behind[page] & (RW | DIRTY)
    return W if of_file(case, page) and case.leaf[page] & PRESENT and taken else 0


DENIES: dict[str, Callable[[Case, int], int]] = {
    "none": lambda _case, _page: 0,
    "r, w, x": lambda _case, _page: ALL,
    "r, w, x, on the pages of a region": lambda case, page: ALL if case.vma[page] else 0,
    "r, w, x, on the pages of a region, up to one that refuses it": lambda _case, _page: ALL,
    "r, w, x, on the pages of the regions that move": lambda _case, _page: ALL,
    "w, on the pages of a region, up to one that is not registered": lambda _case, _page: W,
    "the kinds that the region loses": lost,
    "as `mprotect`; r and w where the key changes": lost_to_key,
    "w, on the parent's private pages in writable regions": of_fork,
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
"""The meaning of each cell of the table; a cell with other words is an error here."""


def denied(case: Case) -> dict[int, int]:
    """Return the kinds that the operation denies by the table, for each page of which there are any."""
    kinds_of: dict[int, int] = {}
    for names, part, deny in TABLE:
        if case.name in names and not is_refused(case):
            means = DENIES["none" if re.match(r"none\b", deny) else deny]
            for page in PARTS[part](case):
                kinds_of[page] = kinds_of.get(page, 0) | means(case, page)
    # The split of the huge zero page, whose pages get new frames, can be part of any operation.
    for page in range(PAGES):
        index = page // FANOUT
        split = case.zeros[index] and case.tables_behind[index] & (PRESENT | PSE) == PRESENT
        if split:
            kinds_of[page] = ALL
    return {page: allowed for page, allowed in sorted(kinds_of.items()) if allowed}
