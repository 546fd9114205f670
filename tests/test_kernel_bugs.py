"""Bugs put back into a kernel's text (bench/kernel_bugs): each shows on its own scenario, which is legal without it."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bench.kernel_bugs.__main__ import chosen, main, table
from bench.kernel_bugs.bug import Bug, BugError, Edit, files_of, write_copy
from bench.kernel_bugs.catalogue import CATALOGUE
from bench.runs import Run
from shootdown.kernel.machinery import machinery_of
from shootdown.kernel.splicer import FLUSHING
from shootdown.kernel.strategy import KernelFlush
from shootdown.kernel.text import text_at
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.policy import Policy
from shootdown.run.execute import execute
from shootdown.scenario.verdict import ILLEGAL, LEGAL
from tests.trees import FOUND, TREES, WITHOUT

LINUX = REGISTRY["linux"]
TEXTS = {tree: files_of(text_at(tree)) for tree in FOUND}
PAIRS = [
    pytest.param(trees[-1], bug, id=f"{trees[-1].name}-{bug.name}")
    for bug in CATALOGUE.values()
    if (trees := [tree for tree in FOUND if bug.is_in(TEXTS[tree])])
] or [pytest.param(Path(), next(iter(CATALOGUE.values())), id="none", marks=WITHOUT)]
"""A parameter for each bug, in the newest tree that can have it, because a text is compiled for each; or one that is
skipped with the reason.
"""


def policy_at(tree: Path) -> Policy:
    """Return the policy with the machinery of a tree, and the rule of the newest model."""
    machinery = machinery_of(text_at(tree))
    strategy = type("KernelFlush", (KernelFlush,), {"machinery": machinery, "libraries": {}})
    return replace(LINUX, strategy=strategy)


unmodified = cache(policy_at)


@pytest.mark.parametrize(("tree", "bug"), PAIRS)
def test_a_bug_shows_on_its_scenario(tree: Path, bug: Bug, tmp_path: Path) -> None:
    """A text with the bug is illegal for the stated reason, and the text as it is is legal on the same scenario."""
    copy = write_copy(bug.put_into(TEXTS[tree]), tmp_path)
    scenario = bug.shown_by()
    broken = execute(scenario, policy_at(copy).make())
    whole = execute(scenario, unmodified(tree).make())
    assert (broken.verdict, broken.reason) == (ILLEGAL, bug.reason)
    assert (whole.verdict, whole.reason) == (LEGAL, "")


@pytest.mark.parametrize("tree", TREES)
def test_every_tree_has_the_code_of_its_bugs_once(tree: Path) -> None:
    """Each bug that a release can have can be put into its text, and changes it."""
    files = files_of(text_at(tree))
    bugs = [bug for bug in CATALOGUE.values() if bug.is_in(files)]
    assert len(bugs) >= 20
    assert all(bug.put_into(files) != files for bug in bugs)


@pytest.mark.parametrize("content", ["", "wait(cpu); wait(cpu);"])
def test_code_that_is_not_there_once_is_an_error(content: str) -> None:
    """A pattern that a text does not have, or has twice, is refused with the bug's name: no run is without its bug."""
    edit = Edit(FLUSHING, r"wait\(cpu\);", "")
    bug = Bug("unwaited", "own", "no wait", "stale-grant", (edit,), "")
    with pytest.raises(BugError, match=r"^unwaited: .*tlb\.c has .* [02] times"):
        bug.put_into({FLUSHING: content})


def test_the_rest_of_a_text_stays_as_it_is() -> None:
    """Putting a bug into a text changes what its pattern matches, and nothing else."""
    edit = Edit(FLUSHING, r"wait\(cpu\);", "")
    bug = Bug("unwaited", "own", "no wait", "stale-grant", (edit,), "")
    files = {FLUSHING: "send(cpu); wait(cpu); done();", "Makefile": "VERSION = 6"}
    assert bug.put_into(files) == {**files, FLUSHING: "send(cpu);  done();"}


def test_a_reason_is_one_of_the_closed_list() -> None:
    """A bug with another reason could never be found, so it is no bug."""
    with pytest.raises(ValueError, match="unwaited: stale is no reason"):
        Bug("unwaited", "own", "no wait", "stale", (), "")


def makefile(version: int, level: int) -> dict[str, str]:
    """Return the files of a text that has only a release."""
    return {"Makefile": f"VERSION = {version}\nPATCHLEVEL = {level}\n"}


def test_a_bug_is_put_only_into_texts_that_can_have_it() -> None:
    """A text from before broadcast flushes has none of their bugs, and asking for one by name is refused."""
    names = {bug.name for bug in chosen([], makefile(6, 12), held_out=True)}
    newer = {bug.name for bug in chosen([], makefile(7, 3), held_out=True)}
    assert "broadcast-unwaited" in newer - names
    with pytest.raises(BugError, match="cannot have broadcast-unwaited"):
        chosen(["broadcast-unwaited"], makefile(6, 12), held_out=True)


def test_bugs_that_are_held_out_run_only_when_asked_for() -> None:
    """Without the word and without its name, no bug that is held out is among those that run; at least three are."""
    files = makefile(7, 3)
    every = set(chosen([], files, held_out=True))
    kept = every - set(chosen([], files, held_out=False))
    assert kept == {bug for bug in every if bug.held_out}
    assert len(kept) >= 3
    assert all(chosen([bug.name], files, held_out=False) == [bug] for bug in kept)


def test_the_command_without_a_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a tree there is nothing to put a bug into: one sentence, and the exit code of bad input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["kernel_bugs"])
    assert main() == 2
    assert capsys.readouterr() == (
        "",
        "There is no kernel tree: `make trees` gets some, or --tree names one.\n",
    )


def test_a_campaign_that_fails_is_told_from_one_that_finds_nothing() -> None:
    """A run whose process has died says nothing about the bug, and the table says so instead of a limit."""
    run: Run = {"bug": "nested-unflushed", "seed": 1, "limit": 60.0, "found": False, "stories": 0}
    quiet = table([{**run, "total_executions": 9000}]).splitlines()[-1]
    dead = table([{**run, "failed": "exit code -24: "}]).splitlines()[-1]
    assert quiet.endswith("| - (0 of 1) | > 9,000 | > 60 | > 9,000 | - | 0 |")
    assert dead.endswith("| the campaign failed (1 of 1) | - | - | - | - | - |")
