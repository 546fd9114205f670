"""The reduced search of a kernel's own text agrees with the plain one, which tries every move at every moment."""

from pathlib import Path
from unittest.mock import patch

import pytest

from shootdown.prove.canonical import key_of
from shootdown.prove.search import NONE, Illegal
from shootdown.scenario import Header, kinds
from tests.changed_trees import SWITCHING_IGNORED, changed, kernel_strategy
from tests.proving import exact, goes_on, rested, story, with_speculation
from tests.trees import TREES


@pytest.mark.parametrize("tree", TREES[-1:])
@pytest.mark.parametrize(
    ("header", "words"),
    [
        (Header(2, 1), "write p0, munmap p0"),
        (Header(2, 1, kinds.SHARED), "read p0, lazy"),
    ],
)
def test_no_world_is_missed(tree: Path, header: Header, words: str) -> None:
    """The reduced search meets the same worlds at rest as the plain one does with keys that leave nothing out."""
    strategy = kernel_strategy(tree)
    reduced = with_speculation(rested(header, words, 2, strategy=strategy))
    with patch("shootdown.prove.search.key_of", exact):
        worlds = rested(header, words, 2, strategy=strategy, reductions=NONE)
    plain = {key_of(w, oracle) for w, oracle in worlds}

    assert len(plain) > 3
    assert reduced == plain


POKED = story("2 1 private", "cpu1 write p0, cpu0 poke p0 for 1")


@pytest.mark.parametrize("tree", TREES)
def test_every_interleaving_of_a_switch_and_a_flush(tree: Path, tmp_path: Path) -> None:
    """A CPU on its way to or from the temporary space is interrupted by an mprotect; without the line of the fix for
    CVE-2025-37964 some interleaving leaves it a stale entry.
    """
    goes_on(POKED, "mprotect p0 none", strategy=kernel_strategy(tree))

    broken = changed(tree, tmp_path / "broken", SWITCHING_IGNORED)
    with pytest.raises(Illegal, match="stale-entry-at-rest"):
        goes_on(POKED, "mprotect p0 none", strategy=kernel_strategy(broken))
