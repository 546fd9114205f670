"""The comparison of two policies: over all changes, and over scenarios."""

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.machine.entry import DIRTY, NX, PRESENT, RW
from shootdown.optimized import rules
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.policy import NeedFlush
from shootdown.table.agreement import agreement_of
from tests.command import complaint, document, inside

LINUX = REGISTRY["linux"]


def but(bits_set: int, bits_cleared: int, *, answer: bool) -> NeedFlush:
    """Return the rule of Linux with the opposite answer if exactly these bits change."""

    def rule(old: int, new: int) -> bool:
        if old & PRESENT and (new & ~old, old & ~new) == (bits_set, bits_cleared):
            return answer
        return rules.linux(old, new)

    return rule


@pytest.mark.parametrize(
    ("bits", "words", "needed"),
    [
        ((RW, 0), "RW set", "no"),
        ((0, RW), "RW cleared", "yes"),
        ((0, DIRTY), "D cleared", "yes"),
        ((NX, RW), "RW cleared, NX set", "yes"),
    ],
)
def test_a_difference_is_named_and_judged(bits: tuple[int, int], words: str, needed: str) -> None:
    """A change about which one rule differs is the only class, with the table's verdict about its flush."""
    theirs = replace(LINUX, name="theirs", needs_flush=but(*bits, answer=False))
    (found,) = agreement_of(LINUX, replace(theirs, huge_needs_flush=LINUX.huge_needs_flush)).classes

    assert found.changes == (words,)
    assert found.needed == needed
    assert found.flushing == 0
    assert not found.huge
    assert rules.linux(found.old, found.new)


def test_a_change_that_contains_a_smaller_one_is_none_of_its_own() -> None:
    """Only the smallest changes are classes."""

    def rule(old: int, new: int) -> bool:
        return rules.linux(old, new) and not old & ~new & RW

    theirs = replace(LINUX, needs_flush=rule)
    changes = [each.changes for each in agreement_of(LINUX, theirs).classes if not each.huge]

    assert changes == [("RW cleared",)]


def test_equal_policies_agree(tmp_path: Path) -> None:
    """A policy agrees with itself about everything, with exit code 0."""
    ended = inside(tmp_path, "agree", "linux", "linux", "--random", "20")

    assert ended.code == 0
    assert "alike in all of them" in ended.out
    assert "the same verdicts, and the same costs" in ended.out


def test_a_difference_is_exit_code_1(tmp_path: Path) -> None:
    """The JSON has the classes, the costs of both, and the first scenario with two verdicts."""
    found = document(tmp_path, "agree", "linux", "skip-write-protect", "--random", "300", code=1)

    assert found["policies"] == ["linux", "skip-write-protect"]
    assert found["differ"] == sum(each["differ"] for each in found["classes"]) or found["classes"]
    assert found["scenarios"] == 300
    assert set(found["costs"]) == {"linux", "skip-write-protect"}
    assert found["costs"]["linux"]["flushes"] > found["costs"]["skip-write-protect"]["flushes"]


@pytest.mark.parametrize("spec", ["nobody", "absent.py", "c-rule:absent"])
def test_what_is_no_policy(spec: str, tmp_path: Path) -> None:
    """A word that names no policy is a sentence and exit code 2, on either side."""
    assert complaint(tmp_path, "agree", "linux", spec)
    assert complaint(tmp_path, "agree", spec, "linux")
