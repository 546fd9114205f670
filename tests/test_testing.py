"""The assertions for tests of policies: what passes, what fails, and what a failure tells."""

from pathlib import Path

import pytest

import shootdown
from shootdown.testing import assert_illegal, assert_legal, assert_survives
from tests.command import NX


def never(_old: int, _new: int) -> bool:
    """Never flush."""
    return False


def failure(policy: shootdown.PolicyLike) -> str:
    """Return what assert_survives says of a policy that does not."""
    with pytest.raises(AssertionError) as failed:
        assert_survives(policy, executions=400)
    return str(failed.value)


def test_a_right_policy_survives() -> None:
    """A policy that flushes always survives."""
    assert_survives("always", executions=400)


def test_a_wrong_policy_does_not_survive() -> None:
    """The failure names the rule and the reason, and its scenario shows them again."""
    said = failure(never)
    scenario = said.partition("Scenario:\n")[2].partition("\ntime ")[0]
    text = "".join(f"{line.removeprefix('  ')}\n" for line in scenario.rstrip().splitlines())
    shown = assert_illegal(text, never)

    assert f"{shown.rule} {shown.reason}" in said.splitlines()[0]
    assert shown.report in said
    assert said.endswith("shootdown.replay(scenario, policy), where scenario is the text above.")


def test_a_failure_is_always_the_same() -> None:
    """Two runs of the assertion fail with the same words."""
    assert failure(never) == failure(never)


def test_a_failure_of_a_file_names_the_command(tmp_path: Path) -> None:
    """A command can replay the failure of a policy from a file."""
    path = tmp_path / "mine.py"
    path.write_text("def needs_flush(old, new):\n    return False\n")

    assert f"shootdown replay scenario.txt --policy {path}, where" in failure(path)


def test_legal() -> None:
    """A scenario that shows nothing illegal passes, and one that does fails with its explanation."""
    assert_legal(NX, "linux")
    with pytest.raises(AssertionError, match=r"(?s)not legal\..*illegal, C2 denied-though-allowed"):
        assert_legal(NX, "v1")


def test_illegal() -> None:
    """A scenario that shows something illegal passes, and its replay is returned."""
    assert assert_illegal(NX, "v1").reason == "denied-though-allowed"
    assert assert_illegal(NX, "v1", rule="C2").rule == "C2"


@pytest.mark.parametrize(("policy", "rule"), [("linux", None), ("v1", "C1")])
def test_not_illegal(policy: str, rule: str | None) -> None:
    """A scenario that is legal fails, and so does one that breaks another rule than the one that is named."""
    with pytest.raises(AssertionError, match=r"^The scenario is not illegal"):
        assert_illegal(NX, policy, rule)


def test_unusable_input() -> None:
    """An unknown rule, scenario or policy is an error, not a failed assertion."""
    with pytest.raises(shootdown.UserError, match="'C9' is no rule; there are C1, C2"):
        assert_illegal(NX, "v1", "C9")
    with pytest.raises(shootdown.UserError, match="There is no policy"):
        assert_survives("linx")
    with pytest.raises(shootdown.UserError, match="There is no file"):
        assert_legal("no_such", "linux")
