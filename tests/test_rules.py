"""Need-flush rules compared with the tables of the series' history, and with each other."""

from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shootdown.machine.entry import (
    ACCESSED,
    BIT57,
    BIT58,
    DIRTY,
    GLOBAL,
    MIGRATION,
    NX,
    PAT,
    PAT_LARGE,
    PCD,
    PFN_MASK,
    PKEY,
    PRESENT,
    PROTNONE,
    PWT,
    RW,
    SOFTW1,
    SOFTW2,
    SOFTW3,
    USER,
)
from shootdown.machine.geometry import FRAME_BITS
from shootdown.mm.fault_handler import FaultHandler
from shootdown.optimized import rules
from shootdown.optimized.elsewhere import ELSEWHERE
from shootdown.optimized.policies import REGISTRY, RULES
from shootdown.optimized.relaxed import RelaxedFlush

Rule = Callable[[int, int], bool]

VERSIONS: tuple[Rule, ...] = (rules.v1, rules.v3, rules.linux_5_19, rules.linux)
HUGE: tuple[Rule, ...] = (rules.v3_huge, rules.linux_5_19_huge, rules.linux_huge)
SAFE: tuple[Rule, ...] = (rules.always, *VERSIONS, *HUGE)
SAFE_UNDER_LINUX = tuple(rule for rule in SAFE if rule not in (rules.v1, rules.v3, rules.v3_huge))
ALL: tuple[Rule, ...] = (*SAFE, rules.minimal, rules.minimal_exec_check)

BASE = FRAME_BITS[5] | PRESENT | RW | USER | ACCESSED | DIRTY
"""The entry whose bits the tables change one at a time."""

# Bit: what v1, v3, v5.19 and the newest text say when it is set, and when it is cleared.
SINGLE: dict[str, tuple[int, str, str]] = {
    "PRESENT": (PRESENT, "1000", "1111"),
    "RW": (RW, "0011", "1111"),
    "USER": (USER, "1111", "1111"),
    "PWT": (PWT, "1111", "1111"),
    "PCD": (PCD, "1111", "1111"),
    "PAT": (PAT, "1111", "1111"),
    "PKEY0": (1 << 59, "1111", "1111"),
    "PKEY1": (1 << 60, "1111", "1111"),
    "PKEY2": (1 << 61, "1111", "1111"),
    "PKEY3": (1 << 62, "1111", "1111"),
    "lowest bit of the frame": (1 << 12, "1111", "1111"),
    "highest bit of the frame": (1 << 51, "1111", "1111"),
    "ACCESSED": (ACCESSED, "0000", "0000"),
    "DIRTY": (DIRTY, "0000", "1111"),
    "GLOBAL": (GLOBAL, "0011", "1011"),
    "SOFTW1": (SOFTW1, "0000", "0000"),
    "SOFTW2": (SOFTW2, "0000", "0000"),
    "SOFTW3": (SOFTW3, "0000", "0000"),
    "bit 52": (1 << 52, "1100", "1100"),
    "bit 56": (1 << 56, "1100", "1100"),
    "bit 57": (BIT57, "1100", "1100"),
    "bit 58": (BIT58, "1000", "1000"),
    "NX": (NX, "1111", "0011"),
}

NONE = 0
SWAP = FRAME_BITS[5] | MIGRATION
PAGE_NONE = FRAME_BITS[5] | ACCESSED | PROTNONE

# What v1, v3, v5.19 and the newest text say of whole entries.
TRANSITIONS: dict[str, tuple[int, int, str]] = {
    "present to none": (BASE, NONE, "1111"),
    "present to PROTNONE": (BASE, PAGE_NONE, "1111"),
    "present to swap": (BASE, SWAP, "1111"),
    "PROTNONE to present": (PAGE_NONE, BASE, "1000"),
    "none to present": (NONE, BASE, "1000"),
    "swap to none": (SWAP, NONE, "1000"),
    "PROTNONE to none": (PAGE_NONE, NONE, "1000"),
    "PROTNONE to swap": (PAGE_NONE, SWAP, "1000"),
    "clean writable to read-only": (BASE & ~DIRTY, BASE & ~DIRTY & ~RW, "1111"),
    "none to none": (NONE, NONE, "0000"),
    "leaked A and D to none": (ACCESSED | DIRTY, NONE, "0000"),
    "present to another frame": (BASE, BASE ^ FRAME_BITS[5] ^ FRAME_BITS[6], "1111"),
}


def said(old: int, new: int) -> str:
    """Return what the four versions say, 1 for a flush."""
    return "".join(str(int(rule(old, new))) for rule in VERSIONS)


def entries() -> st.SearchStrategy[int]:
    """Return a strategy for any 64-bit word, more often one that differs from a mapped page in at most three bits."""
    bits = [0, *(1 << bit for bit in range(64))]
    flip = st.sampled_from(bits)
    near = st.builds(lambda a, b, c: BASE ^ (a | b | c), flip, flip, flip)
    return near | st.integers(0, 2**64 - 1)


@pytest.mark.parametrize("bit", SINGLE)
def test_setting_one_bit(bit: str) -> None:
    """Each version says of a bit that is set what its table says."""
    mask, when_set, _ = SINGLE[bit]

    assert said(BASE & ~mask, BASE | mask) == when_set


@pytest.mark.parametrize("bit", SINGLE)
def test_clearing_one_bit(bit: str) -> None:
    """Each version says of a bit that is cleared what its table says."""
    mask, _, when_cleared = SINGLE[bit]

    assert said(BASE | mask, BASE & ~mask) == when_cleared


@pytest.mark.parametrize("name", TRANSITIONS)
def test_whole_entry_transitions(name: str) -> None:
    """Each version says of a transition between whole entries what its table says."""
    old, new, expected = TRANSITIONS[name]

    assert said(old, new) == expected


def test_the_huge_rules_flush_when_accessed_is_cleared() -> None:
    """For a huge PMD the cleared ACCESSED counts since v3; set, or in a PTE, it does not."""
    young, old = BASE, BASE & ~ACCESSED

    assert [rule(young, old) for rule in HUGE] == [True, True, True]
    assert [rule(old, young) for rule in HUGE] == [False, False, False]


@given(entries(), entries())
def test_a_huge_rule_adds_accessed_and_nothing_else(old: int, new: int) -> None:
    """Where ACCESSED is not cleared, a version has one rule for both sizes."""
    assume(not old & ~new & ACCESSED)

    for small, huge in zip(VERSIONS[1:], HUGE, strict=True):
        assert small(old, new) == huge(old, new)


def test_the_always_change_mask_of_v1() -> None:
    """The bits for which v1 flushes in either direction are the posted mask."""
    mask = sum(
        1 << bit
        for bit in range(64)
        if rules.v1(BASE & ~(1 << bit), BASE | 1 << bit)
        and rules.v1(BASE | 1 << bit, BASE & ~(1 << bit))
    )

    assert mask == 0x7FFFFFFFFFFFF09D


@pytest.mark.parametrize("rule", [rules.linux_5_19, rules.linux])
def test_the_flush_on_change_mask(rule: Rule) -> None:
    """The bits outside the frame number for which the merged rule flushes in either direction are the kernel's mask.

    The mask's bit 12 is PAT_LARGE, which in a 4 KiB entry is part of the frame number.
    """
    mask = sum(
        1 << bit
        for bit in range(64)
        if not PFN_MASK >> bit & 1
        and rule(BASE & ~(1 << bit), BASE | 1 << bit)
        and rule(BASE | 1 << bit, BASE & ~(1 << bit))
    )

    assert mask | PAT_LARGE == 0xF80000000000119E


@pytest.mark.parametrize(("rule", "mask"), [(rules.linux_huge, 0x61), (rules.linux, 0x41)])
def test_the_flush_on_clear_mask(rule: Rule, mask: int) -> None:
    """The bits for which the merged rule flushes only when they are cleared: DIRTY, PRESENT and, huge, ACCESSED."""
    found = sum(
        1 << bit
        for bit in range(64)
        if rule(BASE | 1 << bit, BASE & ~(1 << bit))
        and not rule(BASE & ~(1 << bit), BASE | 1 << bit)
    )

    assert found == mask


def test_the_software_flags() -> None:
    """The bits that the newest text calls software bits, and those of v5.19, which has no bit 57."""
    assert rules.SOFTWARE_NEWEST == 0x0600000000000E00
    assert rules.SOFTWARE_5_19 == 0x0400000000000E00


@given(entries(), entries())
def test_v1_is_its_formula(old: int, new: int) -> None:
    """V1 is one expression over three masks, and pte_none comes first."""
    enable, disable, ignore = 0x142, 1 << 63, 0xE20
    if new & ~0x60 == 0:
        expected = old & ~0x60 != 0
    else:
        rest = (1 << 64) - 1 & ~(enable | disable | ignore)
        expected = (old ^ new) & (old & enable | new & disable | rest) != 0

    assert rules.v1(old, new) == expected


@given(entries(), entries())
def test_the_merged_rule_is_its_formula(old: int, new: int) -> None:
    """The newest text in its own order: old not present, frame, flush on clear, flush on change."""
    difference = (old ^ new) & ~0x0600000000000E00 & ~0x20
    expected = bool(old & 1) and (
        (old ^ new) & PFN_MASK != 0
        or difference & old & 0x61 != 0
        or difference & 0xF80000000000119E != 0
    )

    assert rules.linux(old, new) == expected


def grants(entry: int) -> set[tuple[int, int, str]]:
    """Return what an entry that the hardware can use lets a user do: (frame, protection key, kind of access)."""
    if not entry & PRESENT or not entry & USER:
        return set()
    kinds = "r" + ("w" if entry & RW else "") + ("" if entry & NX else "x")
    return {(entry & PFN_MASK, entry & PKEY, kind) for kind in kinds}


@given(entries(), entries())
def test_minimal_exec_check_is_the_weakest_rule(old: int, new: int) -> None:
    """Of user entries, it skips iff no grant is lost, DIRTY is not cleared and the caching attributes are kept."""
    assume(old & USER)
    caching = PWT | PCD | PAT
    kept = new & PRESENT and not (old ^ new) & caching and not old & ~new & DIRTY

    assert rules.minimal_exec_check(old, new) == bool(
        old & PRESENT and not (grants(old) <= grants(new) and kept)
    )


@given(entries(), entries())
def test_minimal_adds_the_promotion_that_linux_does_not_heal(old: int, new: int) -> None:
    """The two minimal rules differ only where nothing but promotions happen and NX of a present entry is cleared."""
    promoted = old & PRESENT and old & ~new & NX

    assert rules.minimal(old, new) == bool(rules.minimal_exec_check(old, new) or promoted)


@given(entries(), st.integers(0, 2**64 - 1))
def test_no_rule_flushes_for_software_bits_and_accessed_being_set(old: int, bits: int) -> None:
    """Except for always, a change of SOFTW1 to 3 and a set ACCESSED never need a flush."""
    new = (old ^ bits & (SOFTW1 | SOFTW2 | SOFTW3)) | bits & ACCESSED
    assume(new & ~(ACCESSED | DIRTY))

    assert [rule for rule in ALL if rule(old, new)] == [rules.always]


@given(entries(), entries())
def test_every_safe_rule_flushes_when_the_minimal_one_does(old: int, new: int) -> None:
    """The minimal rule of a handler never flushes where a rule that counts as safe under it does not."""
    assume(rules.minimal(old, new))

    assert [rule for rule in SAFE_UNDER_LINUX if not rule(old, new)] == []
    if rules.minimal_exec_check(old, new):
        assert [rule for rule in SAFE if not rule(old, new)] == []


@given(entries(), entries())
def test_the_merged_rule_flushes_when_v3_does_except_for_unknown_bits(old: int, new: int) -> None:
    """V3 flushes for bits 52 to 57; elsewhere the merged rule, which took promotion back, flushes more often."""
    assume(not (old ^ new) & 0x3F << 52)

    assert rules.linux(old, new) or not rules.v3(old, new)
    assert rules.linux(old, new) == rules.linux_5_19(old, new)


@given(entries(), entries())
def test_v1_and_v3_agree_on_what_may_be_promoted(old: int, new: int) -> None:
    """Between present entries v3 flushes only where v1 does."""
    assume(old & new & PRESENT)

    assert rules.v1(old, new) or not rules.v3(old, new)


def test_neither_v1_nor_the_merged_rule_contains_the_other() -> None:
    """The merged rule alone flushes for RW set, NX cleared and GLOBAL set; v1 alone for non-present and odd bits."""
    merged_only = [(BASE & ~RW, BASE), (BASE | NX, BASE), (BASE, BASE | GLOBAL)]
    v1_only = [(PAGE_NONE, BASE), (SWAP, NONE), (BASE, BASE | BIT57), (BASE, BASE | 1 << 52)]

    assert all(rules.linux(*pair) and not rules.v1(*pair) for pair in merged_only)
    assert all(rules.v1(*pair) and not rules.linux(*pair) for pair in v1_only)


@given(entries())
def test_no_change_needs_no_flush(entry: int) -> None:
    """Except for always, an entry that stays as it is needs no flush."""
    assert [rule for rule in ALL if rule(entry, entry)] == [rules.always]


@given(entries(), entries())
def test_what_the_hardware_could_not_use_needs_no_flush(old: int, new: int) -> None:
    """Since v3 an old entry without PRESENT, PROTNONE included, never needs a flush."""
    absent = old & ~PRESENT
    flushing = [rule for rule in ALL if rule not in (rules.always, rules.v1)]

    assert [rule for rule in flushing if rule(absent, new)] == []


def test_the_registry_holds_each_rule_by_its_name() -> None:
    """Each name has its rule; only the rules that skip promotion to executable have the handler that was not merged.

    v1 does not have it, which is its defect.
    """
    named = {policy.name: policy.needs_flush for policy in RULES}

    assert named == {
        "always": rules.always,
        "v1": rules.v1,
        "v3": rules.v3,
        "linux-5.19": rules.linux_5_19,
        "linux": rules.linux,
        "minimal": rules.minimal,
    }
    assert REGISTRY["minimal-exec-check"].needs_flush is rules.minimal_exec_check
    skipping = {
        policy.name
        for policy in (*RULES, *ELSEWHERE)
        if not policy.needs_flush(BASE | NX, BASE) or policy.strategy is RelaxedFlush
    }
    handled = {
        policy.name for policy in (*RULES, *ELSEWHERE) if policy.handler is FaultHandler.EXEC_CHECK
    }
    assert skipping == handled | {"v1"}
    assert handled == {"v3", "minimal-exec-check", "rfc-2021", "rfc-2022", "powerpc-radix"}
    assert all(REGISTRY[name].name == name for name in REGISTRY)
