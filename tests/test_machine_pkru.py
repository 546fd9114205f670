"""Protection keys of the processor: what PKRU denies, by which key, and what remains after a denial."""

import pytest

from shootdown.machine.entry import ACCESSED, DIRTY, EXEC, NX, PKEY_SHIFT, READ, RW, WRITE
from shootdown.machine.pkru import NO_ACCESS, NO_WRITE, denies
from shootdown.machine.x86 import PF_INSTR, PF_PK, PF_PROT, PF_USER, PF_WRITE, Machine
from tests.paging import DATA, LEAF, frame_in, leaf_of, machine_with, machine_with_huge, set_leaf

KEY1 = 1 << PKEY_SHIFT
KEY2 = 2 << PKEY_SHIFT
CODES = {READ: PF_USER, WRITE: PF_USER | PF_WRITE, EXEC: PF_USER | PF_INSTR}
DENIED = {NO_ACCESS: {READ, WRITE}, NO_WRITE: {WRITE}, NO_ACCESS | NO_WRITE: {READ, WRITE}}


def sets(m: Machine, key: int, bits: int, cpu: int = 0) -> None:
    """Execute WRPKRU with the bits of one key, and all others 0."""
    m.pkru[cpu] = bits << 2 * key


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("bits", DENIED)
@pytest.mark.parametrize("kind", [READ, WRITE, EXEC])
def test_what_each_bit_denies(bits: int, kind: int, *, cached: bool) -> None:
    """AD denies loads and stores, WD denies stores, and neither denies a fetch, in a walk and in a TLB hit."""
    m = machine_with(LEAF | KEY1)
    if cached:
        m.fill(0, 0)
    sets(m, 1, bits)
    result = m.access(0, 0, kind)

    assert denies(m.pkru[0], 1, kind) == (kind in DENIED[bits])
    if kind in DENIED[bits]:
        assert -result == CODES[kind] | PF_PROT | PF_PK
    else:
        assert frame_in(result) == DATA


@pytest.mark.parametrize("leaf", [LEAF, LEAF | KEY2])
def test_another_key_is_not_asked(leaf: int) -> None:
    """The bits of key 1 say nothing about a page of key 0 or 2."""
    m = machine_with(leaf)
    sets(m, 1, NO_ACCESS)

    assert frame_in(m.access(0, 0, WRITE)) == frame_in(m.access(0, 0, READ)) == DATA


def test_the_cached_key_decides() -> None:
    """As long as the translation is cached, the key in memory is ignored, whichever of the two PKRU denies."""
    for cached, stored, granted in ((0, KEY1, True), (KEY1, 0, False)):
        m = machine_with(LEAF | cached)
        m.fill(0, 0)
        set_leaf(m, LEAF | stored)
        sets(m, 1, NO_ACCESS)

        assert (m.access(0, 0, READ) >= 0) == granted


def test_pkru_needs_no_flush() -> None:
    """A write to the register takes effect at once, both ways, and drops nothing from the TLB."""
    m = machine_with(LEAF | KEY1)
    assert m.access(0, 0, WRITE) >= 0
    held = dict(m.tlb[0])
    sets(m, 1, NO_WRITE)
    assert m.tlb[0] == held
    assert m.access(0, 0, READ) >= 0
    assert -m.access(0, 0, WRITE) & PF_PK
    sets(m, 1, 0)

    assert m.access(0, 0, WRITE) >= 0


def test_each_processor_has_its_own_register() -> None:
    """One processor may be denied an access that another one may make."""
    m = machine_with(LEAF | KEY1, cpus=2)
    sets(m, 1, NO_ACCESS, cpu=0)

    assert m.access(0, 0, READ) < 0 <= m.access(1, 0, READ)


def test_a_denial_drops_the_entry_and_marks_nothing() -> None:
    """It drops the entry like any page fault; A and D stay as they were."""
    m = machine_with(LEAF | KEY1)
    m.fill(0, 0)
    set_leaf(m, LEAF | KEY1)
    sets(m, 1, NO_ACCESS)
    assert m.access(0, 0, WRITE) < 0
    assert (m.tlb[0], m.psc[0]) == ({}, {})
    assert m.access(0, 0, WRITE) < 0

    assert (m.tlb[0], m.psc[0]) == ({}, {})
    assert not leaf_of(m) & (ACCESSED | DIRTY)


def test_the_code_names_the_key_beside_other_reasons() -> None:
    """PK says that the key denies the access, even if something else denies it too; a fetch never has it."""
    m = machine_with((LEAF | KEY1 | NX) & ~RW)
    sets(m, 1, NO_ACCESS)
    for _ in range(2):
        assert -m.access(0, 0, WRITE) == CODES[WRITE] | PF_PROT | PF_PK
        assert -m.access(0, 0, EXEC) == CODES[EXEC] | PF_PROT
        m.fill(0, 0)


def test_speculation_does_not_ask() -> None:
    """A fill caches a page that the register denies, so a denial can be stale as well."""
    m = machine_with(LEAF | KEY1)
    sets(m, 1, NO_ACCESS)
    m.fill(0, 0)

    assert m.tlb[0]


@pytest.mark.parametrize(("stored", "granted"), [(LEAF, True), (LEAF | KEY1, False)])
def test_amd_walks_again(stored: int, *, granted: bool) -> None:
    """Before an AMD processor faults by a cached key, it checks memory."""
    m = machine_with(LEAF | KEY1, amd=True)
    m.fill(0, 0)
    set_leaf(m, stored)
    sets(m, 1, NO_ACCESS)

    assert (m.access(0, 0, READ) >= 0) == granted


def test_a_huge_page_has_one_key() -> None:
    """The key of a leaf of 2 MiB holds for all its pages."""
    m = machine_with_huge(LEAF | KEY2)
    assert m.access(0, 1, WRITE) >= 0
    sets(m, 2, NO_WRITE)

    assert -m.access(0, 3, WRITE) & PF_PK
    assert m.access(0, 3, READ) >= 0
