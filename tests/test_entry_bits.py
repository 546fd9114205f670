"""Bit positions of page-table entries, and where a frame number sits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.machine import entry
from shootdown.machine.geometry import BLOCKS, FANOUT, FRAME_BITS, FRAMES, frame_of

POSITIONS = {
    "PRESENT": 0,
    "RW": 1,
    "USER": 2,
    "PWT": 3,
    "PCD": 4,
    "ACCESSED": 5,
    "DIRTY": 6,
    "PSE": 7,
    "PAT": 7,
    "GLOBAL": 8,
    "PROTNONE": 8,
    "SOFTW1": 9,
    "SOFTW2": 10,
    "UFFD_WP": 10,
    "SOFTW3": 11,
    "SOFT_DIRTY": 11,
    "PAT_LARGE": 12,
    "BIT57": 57,
    "BIT58": 58,
    "NX": 63,
}


MARKS = [
    "MIGRATION",
    "MIGRATION_WRITE",
    "MIGRATION_DIRTY",
    "SWAP",
    "SWP_SOFT_DIRTY",
    "SWP_UFFD_WP",
    "SWP_EXCLUSIVE",
    "UFFD_WP_MARKER",
]
ACCESSES = {"READ", "WRITE", "EXEC"}


def test_every_bit_is_a_position_or_a_mark() -> None:
    """Each constant of one bit is in POSITIONS or in MARKS, but for the kinds of access, which no entry has."""
    constants = {name: value for name, value in vars(entry).items() if isinstance(value, int)}
    bits = {name for name, value in constants.items() if value.bit_count() == 1}

    assert bits - ACCESSES == {*POSITIONS, *MARKS}


@pytest.mark.parametrize("name", POSITIONS)
def test_a_bit_is_where_the_processor_looks(name: str) -> None:
    """Each constant is the one bit that Linux's pgtable_types.h gives this name."""
    assert getattr(entry, name) == 1 << POSITIONS[name]


def test_the_swap_forms_of_the_tracking_bits() -> None:
    """In an entry that is not present, soft-dirty is bit 1 and userfaultfd's write-protection bit 2."""
    assert (entry.SWP_SOFT_DIRTY, entry.SWP_UFFD_WP) == (1 << 1, 1 << 2)


def test_the_protection_key_is_bits_59_to_62() -> None:
    """PKEY is a field of four bits right below NX."""
    assert sum(1 << bit for bit in (59, 60, 61, 62)) == entry.PKEY


def test_the_frame_number_is_bits_12_to_51() -> None:
    """PFN_MASK covers exactly the bits of the frame number."""
    assert sum(1 << bit for bit in range(12, 52)) == entry.PFN_MASK


def test_user_rights_are_the_three_kinds_of_access() -> None:
    """READ, WRITE and EXEC are three different bits, and no others."""
    assert sorted((entry.READ, entry.WRITE, entry.EXEC)) == [1, 2, 4]


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_of_a_non_present_entry_looks_like_nothing_else(mark: str) -> None:
    """A mark is neither PRESENT nor PROTNONE, lies outside the frame number and is no other mark."""
    bits = [getattr(entry, name) for name in MARKS]
    bit = getattr(entry, mark)

    assert not bit & (entry.PRESENT | entry.PROTNONE | entry.PFN_MASK)
    assert bits.count(bit) == 1


@given(st.integers(0, FRAMES - 1), st.integers(0, 2**64 - 1))
def test_a_frame_survives_any_other_bits(frame: int, bits: int) -> None:
    """The frame of an entry depends on the frame number alone."""
    assert frame_of(FRAME_BITS[frame] | bits & ~entry.PFN_MASK) == frame


def test_frame_numbers_differ() -> None:
    """No two frames have the same frame number, and each lies inside the field."""
    assert len(set(FRAME_BITS)) == FRAMES
    assert not any(bits & ~entry.PFN_MASK for bits in FRAME_BITS)


def test_a_block_is_aligned_to_2_mib() -> None:
    """The first frame of a block has bits 12 to 20 clear, as a leaf of 2 MiB needs; the others follow it."""
    for block in range(BLOCKS):
        first = FRAME_BITS[block * FANOUT]
        pages = [first | i << 12 for i in range(FANOUT)]

        assert not first & 0x1FF000
        assert list(FRAME_BITS[block * FANOUT : (block + 1) * FANOUT]) == pages
