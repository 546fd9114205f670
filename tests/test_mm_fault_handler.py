"""The page-fault handlers: how Linux's handler, and the one that tests VM_EXEC, treat an instruction fetch."""

from dataclasses import replace

import pytest

from shootdown.machine.entry import PRESENT
from shootdown.machine.x86 import PF_INSTR, PF_PROT, PF_USER, PF_WRITE
from shootdown.mm.fault import access_error
from shootdown.mm.fault_handler import FaultHandler
from shootdown.mm.state import VM_MAPPED
from shootdown.mm.world import FlushStrategy
from shootdown.optimized.policies import REGISTRY
from shootdown.run.oracle import Violation
from tests.kernel import Kernel, R, W, X, prot

UNDER_LINUX = replace(REGISTRY["minimal-exec-check"], handler=FaultHandler.LINUX).make()
"""A policy that skips the flush that only the unmerged handler makes unnecessary."""


def kernel_with(rights: int, policy: str | FlushStrategy = "linux") -> Kernel:
    """Return a kernel whose pages are mapped with the rights."""
    k = Kernel(policy, layout="empty")
    k.run(0, "mmap", 0, 4, prot(rights))
    return k


@pytest.mark.parametrize(
    ("rights", "code", "exec_check", "linux"),
    [
        (R | X, PF_USER | PF_INSTR | PF_PROT, False, True),
        (R | X, PF_USER | PF_INSTR, False, False),
        (R, PF_USER | PF_INSTR, True, False),
        (R, PF_USER | PF_INSTR | PF_PROT, True, True),
        (R, PF_USER | PF_WRITE, True, True),
        (R | W, PF_USER | PF_WRITE | PF_PROT, False, False),
        (R, PF_USER, False, False),
        (0, PF_USER, True, True),
        (R, PF_USER | PF_PROT, True, True),
    ],
)
def test_access_error(rights: int, code: int, *, exec_check: bool, linux: bool) -> None:
    """Linux treats a fetch that hit a present entry as a denied read and lets others pass; exec-check tests VM_EXEC."""
    vma = VM_MAPPED | rights

    assert access_error(Kernel("linux").w, vma, code) == linux
    assert access_error(Kernel("v3").w, vma, code) == exec_check


@pytest.mark.parametrize(("policy", "populates"), [("linux", True), ("v3", False)])
def test_a_denied_fetch_of_an_absent_page(policy: str, *, populates: bool) -> None:
    """Linux maps the zero page first, and signals the fetch when it is repeated; exec-check maps nothing."""
    k = Kernel(policy)

    assert k.fetch(0) == "ACCERR"
    assert bool(k.pte()) == populates
    assert k.names[0].count("page fault") == 1 + populates


@pytest.mark.parametrize("layout", ["shared", "huge", "file"])
def test_a_denied_fetch_maps_what_a_load_would(layout: str) -> None:
    """This holds for every kind of region; a page in swap is read in."""
    fetched, loaded = (Kernel(layout=layout, pages=4) for _ in range(2))
    loaded.read(0)

    assert fetched.fetch(0) == "ACCERR"
    assert (fetched.pmd(), fetched.pte()) == (loaded.pmd(), loaded.pte())


def test_a_denied_fetch_of_a_swapped_page_reads_it_in() -> None:
    """It reads it in as a load does."""
    k = Kernel()
    value = k.write(0)
    k.run(0, "swapout")
    assert not k.pte() & PRESENT

    assert k.fetch(0) == "ACCERR"
    assert k.pte() & PRESENT
    assert k.read(0) == value


def test_a_fetch_that_was_denied_when_it_was_made() -> None:
    """Its signal may come after the mprotect that allows it, as Linux delivers it; the next fetch works."""
    for began in (False, True):
        k = kernel_with(R)
        k.read(0)
        k.read(1)
        if began:
            k.start(0, "mprotect", 0, 1, R | X, past="mmap_write_lock, mprotect_fixup")
        k.start(1, "exec", past="access")
        if not began:
            k.start(0, "mprotect", 0, 1, R | X)
        k.finish(0)
        k.finish(1)

        assert k.shown() == "ACCERR"
        assert not k.journal.explained
        assert not k.journal.promotions
        assert isinstance(k.fetch(1), int)


def test_a_fetch_that_a_stale_entry_denies_behind_the_mprotect() -> None:
    """An operation on another page that is in flight explains no denial."""
    k = kernel_with(R, policy=UNDER_LINUX)
    k.read(1)
    k.run(0, "mprotect", 0, 1, R | X)
    k.start(0, "mprotect", 1, 1, R | X, past="mmap_write_lock, mprotect_fixup")
    k.start(1, "exec", past="access")
    k.finish(0)

    with pytest.raises(Violation, match="denied-though-allowed"):
        k.finish(1)
