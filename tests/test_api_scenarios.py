"""The functions about one scenario, one bound or one rule: replay, minimize, lockstep, prove, tabulate."""

import threading
from dataclasses import FrozenInstanceError
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import shootdown
from shootdown import api
from shootdown.table.changes import all_changes
from shootdown.table.rows import table_of
from tests.command import NX


def never(_old: int, _new: int) -> bool:
    """Never flush."""
    return False


def test_replay_takes_text_name_and_path(tmp_path: Path) -> None:
    """The text of a scenario, its name in the corpus and its file are the same scenario, and give the same result."""
    text = shootdown.scenarios()["bad_c2_v1_nx_promotion"]
    path = tmp_path / "story.txt"
    path.write_text(text)
    results = [
        shootdown.replay(given, "v1") for given in ("bad_c2_v1_nx_promotion", text, path, str(path))
    ]

    assert results[0].verdict == "illegal"
    assert all(result == results[0] for result in results)


def test_replay_tells_what_happened() -> None:
    """A replay has every step with its operation, the costs, and the report of the command without a command."""
    result = shootdown.replay(NX, "v1")

    assert (result.rule, result.reason) == ("C2", "denied-though-allowed")
    assert [step.time for step in result.steps] == [*range(1, len(result.steps) + 1)]
    assert {step.operation for step in result.steps} == {"read p0", "mprotect p0 rx", "exec p0"}
    assert result.scenario == NX
    assert "Guilty skip: mprotect:NX-cleared" in result.report
    assert "Replay:" not in result.report
    assert shootdown.replay(NX, "always").flushes > result.flushes
    with pytest.raises(FrozenInstanceError):
        result.rule = "C1"  # type: ignore[misc]  # a result is frozen


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("no_such", r"^There is no file 'no_such', and no scenario of the corpus\.$"),
        ("good_fork_cow_brake", r"Did you mean good_fork_cow_break"),
        ("cpus 2\npages 1\n", r"^The text is no scenario, line 1: expected 'shootdown-scenario 1'"),
        (Path("no.txt"), r"^no\.txt cannot be read: No such file or directory\.$"),
        ("", r"^There is no file ''"),
        ("/", r"cannot be read: Is a directory"),
    ],
    ids=["name", "nearly", "text", "path", "empty", "folder"],
)
def test_what_is_no_scenario(given: str | Path, sentence: str) -> None:
    """Anything that cannot be a scenario is a UserError with one sentence, for every function."""
    for function in (shootdown.replay, shootdown.minimize_scenario, shootdown.lockstep):
        with pytest.raises(shootdown.UserError, match=sentence):
            function(given, "linux")


def test_minimize() -> None:
    """A scenario with idle records becomes the smallest that shows the same; one that shows nothing becomes None."""
    smaller = shootdown.minimize_scenario(NX + "cpu0 read p0\ncpu0 write p0\n", "v1")

    assert smaller is not None
    assert (smaller.scenario, smaller.records_before, smaller.records) == (NX, 5, 3)
    assert (smaller.rule, smaller.reason, smaller.complete) == ("C2", "denied-though-allowed", True)
    assert shootdown.minimize_scenario(NX, "linux") is None
    with pytest.raises(shootdown.UserError, match="budget must be at least 1"):
        shootdown.minimize_scenario(NX, "v1", budget=0)


def test_lockstep() -> None:
    """A policy that denies what it must allow differs from the reference, and one that is right does not."""
    difference = shootdown.lockstep(NX, "v1")

    assert difference is not None
    assert difference.policy != difference.reference
    assert difference.scenario == NX
    assert shootdown.lockstep(NX, "linux") is None


# Proofs and tables.


def test_a_proof() -> None:
    """A right rule is legal in its scope, and a wrong one has a counterexample that replays."""
    bound: dict[str, Any] = {"operations": ["read", "mprotect"], "pages": 1, "cpus": 1}
    right = shootdown.prove_policy("always", ops=2, **bound)
    wrong = shootdown.prove_policy(never, ops=3, **bound)

    assert (right.verdict, right.counterexample, right.finding) == ("legal", None, None)
    assert right.worlds > 0
    assert right.complete == 2
    assert wrong.verdict == "illegal"
    assert wrong.counterexample is not None
    assert wrong.finding is not None
    assert shootdown.replay(wrong.counterexample, never).rule == wrong.finding.rule


def test_a_proof_of_a_rule_of_this_process_has_workers() -> None:
    """Workers of a proof are forked, so a rule of this process is proved by several as by one."""
    bound: dict[str, Any] = {"operations": ["read", "mprotect"], "pages": 1, "ops": 2}

    def worlds(workers: int) -> int:
        return shootdown.prove_policy(never, workers=workers, rules=["C2"], **bound).worlds

    assert worlds(2) == worlds(1)


def test_a_proof_at_its_limit() -> None:
    """A proof that meets its memory limit is undecided and says so."""
    result = shootdown.prove_policy("always", memory=1)

    assert result.verdict == "undecided"
    assert "memory limit" in result.why


def test_a_proof_in_another_thread() -> None:
    """A proof does not need the main thread, the only one in which signals can be handled."""
    verdicts: list[str] = []

    def work() -> None:
        result = shootdown.prove_policy("always", ops=1, operations=["read"], pages=1)
        verdicts.append(result.verdict)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert verdicts == ["legal"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cpus": 9}, r"^cpus must be from 1 to 8, and is 9\.$"),
        ({"ops": 0}, "ops must be from 1 to 15, and is 0"),
        ({"layout": "round"}, "'round' is no layout; there are private, "),
        ({"machine": ["arm"]}, "'arm' is no machine; there are "),
        ({"rules": ["C9"]}, "'C9' is no rule; there are C1, "),
        ({"operations": ["sleep"]}, "'sleep' is no operation"),
        ({"workers": 0}, "workers must be at least 1"),
    ],
    ids=["cpus", "ops", "layout", "machine", "rules", "operations", "workers"],
)
def test_a_bound_that_there_is_not(options: dict[str, Any], sentence: str) -> None:
    """Numbers beyond their limits and unknown names are a UserError."""
    with pytest.raises(shootdown.UserError, match=sentence):
        shootdown.prove_policy("linux", **options)


def test_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of the first posting misses the flush for clearing NX, with a counterexample, and flushes in vain."""
    # All changes take ten seconds.
    few = [change for change in all_changes() if change.group == "one flag" and not change.huge]
    monkeypatch.setattr(api, "table_of", partial(table_of, changes=few))
    rows = shootdown.tabulate_policy("v1")
    (missing,) = (row for row in rows if row.verdict == "missing")

    assert (missing.size, missing.change, missing.needed) == ("4K", "NX cleared", "yes")
    assert missing.counterexample is not None
    assert missing.counterexample.reason == "denied-though-allowed"
    assert "bad_c2_v1_nx_promotion" in missing.scenarios
    assert {row.verdict for row in rows} == {"done", "missing", "wasted", "skipped"}
