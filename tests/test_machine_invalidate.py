"""The instructions that invalidate: each drops what the manual says and, the hardware being adversarial, no more.

Every test starts from one CPU that has cached, under two PCIDs, pages 0 and 1 of one table and page 4 of another, and
one global page (SDM 4.10.4.1).
"""

import pytest

from shootdown.machine.caches import GLOBAL_TAG
from shootdown.machine.entry import GLOBAL, PRESENT, READ, USER
from shootdown.machine.geometry import FRAME_BITS
from shootdown.machine.x86 import Machine
from tests.paging import (
    DATA,
    HUGE,
    LEAF,
    OTHER,
    ROOT,
    TABLE_ENTRY,
    cached_huge,
    machine_with,
    machine_with_huge,
    set_leaf,
)

A, B = 1, 2
SECOND_TABLE = 6
GLOBAL_PAGE = 2

Held = set[tuple[int, int]]
"""(PCID, page) of what is cached; the PCID of a global entry is GLOBAL_TAG."""

EVERYTHING: Held = {
    *((pcid, page) for pcid in (A, B) for page in (0, 1, 4)),
    (GLOBAL_TAG, GLOBAL_PAGE),
}
EVERY_TABLE: Held = {(pcid, index) for pcid in (A, B) for index in (0, 1)}


def warm() -> Machine:
    """Return the machine that every test starts from, with PCID A loaded."""
    m = machine_with(LEAF)
    set_leaf(m, LEAF, page=1, frame=OTHER)
    set_leaf(m, LEAF | GLOBAL, page=GLOBAL_PAGE, frame=DATA)
    m.poison(SECOND_TABLE, 0)
    m.write_entry(ROOT, 1, FRAME_BITS[SECOND_TABLE] | TABLE_ENTRY)
    m.write_entry(SECOND_TABLE, 0, FRAME_BITS[DATA] | LEAF)
    for pcid in (B, A):
        m.load_cr3(0, ROOT, pcid, noflush=True)
        for page in (0, 1, GLOBAL_PAGE, 4):
            m.access(0, page, READ)
    return m


def held(m: Machine) -> Held:
    """Return the translations that are cached."""
    return {(key >> 4, key & 7) for key in m.tlb[0]}


def tables(m: Machine) -> Held:
    """Return the table entries that are cached, as (PCID, index)."""
    return {(key >> 1, key & 1) for key in m.psc[0]}


def test_the_start() -> None:
    """The machine with which the other tests start holds everything that it should."""
    m = warm()

    assert held(m) == EVERYTHING
    assert tables(m) == EVERY_TABLE


@pytest.mark.parametrize("page", [0, 1, 4])
def test_invlpg_drops_one_page_and_every_upper_entry_of_the_pcid(page: int) -> None:
    """INVLPG drops the page under the current PCID, and all of that PCID's paging-structure entries."""
    m = warm()
    m.invlpg(0, page)

    assert held(m) == EVERYTHING - {(A, page)}
    assert tables(m) == {(B, 0), (B, 1)}


def test_invlpg_drops_a_global_page() -> None:
    """INVLPG drops the page's global entry, whatever PCID it was walked under."""
    m = warm()
    m.load_cr3(0, ROOT, B, noflush=True)
    m.invlpg(0, GLOBAL_PAGE)

    assert held(m) == EVERYTHING - {(GLOBAL_TAG, GLOBAL_PAGE)}


def test_invlpg_drops_a_huge_page_whole() -> None:
    """One INVLPG for any page of 2 MiB drops all of it."""
    m = machine_with_huge(LEAF)
    m.access(0, 0, READ)
    m.invlpg(0, 3)

    assert cached_huge(m) is None


def test_invlpg_drops_only_the_huge_page_it_names() -> None:
    """INVLPG of a page of another 2 MiB leaves a huge entry alone."""
    m = machine_with_huge(PRESENT | USER)
    m.access(0, 0, READ)
    m.invlpg(0, 4)

    assert cached_huge(m) is not None
    assert (cached_huge(m) or 0) >> 8 & 63 == HUGE


def test_invpcid_0_drops_one_page_of_one_pcid() -> None:
    """Type 0 drops what translates the page under the PCID that it names, loaded or not: one upper entry, no global."""
    m = warm()
    m.invpcid_page(0, B, 1)

    assert held(m) == EVERYTHING - {(B, 1)}
    assert tables(m) == EVERY_TABLE - {(B, 0)}


def test_invpcid_0_keeps_global_pages() -> None:
    """Type 0 leaves the page's global entry alone."""
    m = warm()
    m.invpcid_page(0, A, GLOBAL_PAGE)

    assert held(m) == EVERYTHING


def test_invpcid_1_drops_one_pcid() -> None:
    """Type 1 drops all translations and upper entries of the PCID that it names, global ones excepted."""
    m = warm()
    m.invpcid_context(0, B)

    assert held(m) == {(A, 0), (A, 1), (A, 4), (GLOBAL_TAG, GLOBAL_PAGE)}
    assert tables(m) == {(A, 0), (A, 1)}


def test_invpcid_2_drops_everything() -> None:
    """Type 2 drops everything, global translations included."""
    m = warm()
    m.invpcid_all(0, globals_too=True)

    assert held(m) == set()
    assert tables(m) == set()


def test_invpcid_3_keeps_global_pages() -> None:
    """Type 3 drops everything but global translations."""
    m = warm()
    m.invpcid_all(0, globals_too=False)

    assert held(m) == {(GLOBAL_TAG, GLOBAL_PAGE)}
    assert tables(m) == set()


def test_loading_cr3_drops_the_new_pcid() -> None:
    """MOV to CR3 drops the translations of the PCID that it loads, and of no other; global ones stay."""
    m = warm()
    m.load_cr3(0, ROOT, B, noflush=False)

    assert held(m) == {(A, 0), (A, 1), (A, 4), (GLOBAL_TAG, GLOBAL_PAGE)}
    assert tables(m) == {(A, 0), (A, 1)}


def test_loading_cr3_with_noflush_drops_nothing() -> None:
    """With bit 63 of the operand nothing is invalidated."""
    m = warm()
    m.load_cr3(0, ROOT, B, noflush=True)

    assert held(m) == EVERYTHING
    assert tables(m) == EVERY_TABLE
    assert (m.cr3[0], m.pcid[0]) == (ROOT, B)


def test_toggling_pge_drops_everything() -> None:
    """A change of CR4.PGE drops all translations of all PCIDs, global ones included, and all upper entries."""
    m = warm()
    m.toggle_pge(0)

    assert held(m) == set()
    assert tables(m) == set()


def test_an_instruction_acts_on_its_own_cpu() -> None:
    """No instruction reaches another CPU's caches."""
    m = machine_with(LEAF, cpus=2)
    m.access(1, 0, READ)
    before = (dict(m.tlb[1]), dict(m.psc[1]))
    m.invlpg(0, 0)
    m.invpcid_page(0, A, 0)
    m.invpcid_context(0, A)
    m.invpcid_all(0, globals_too=True)
    m.load_cr3(0, ROOT, A, noflush=False)
    m.toggle_pge(0)

    assert (m.tlb[1], m.psc[1]) == before
