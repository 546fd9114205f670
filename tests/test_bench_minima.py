"""The comparison of minimizers: its halves, its table, and that mutants are subjects like faults."""

import json
from argparse import Namespace
from pathlib import Path

from bench.minima import HELD_OUT, MUTANTS, TUNED, Row, group_of, groups, of_mutants
from shootdown.optimized.policies import REGISTRY

RESULTS = Path(__file__).resolve().parents[1] / "bench/results/mutants-after.jsonl"


def row(subject: str, lengths: list[int], texts: list[str]) -> Row:
    """Return a row of a fault of which a minimization takes 100 runs."""
    return Row(
        subject, group_of(subject), "stale-grant", [100] * len(lengths), lengths, 0, 0, texts
    )


def test_faults_are_in_two_halves() -> None:
    """Each half has at least a third of the faults, and a fault stays in its half."""
    halves = [group_of(name) for name, policy in REGISTRY.items() if policy.fault]

    assert set(halves) == {TUNED, HELD_OUT}
    assert min(map(halves.count, set(halves))) >= len(halves) // 3
    assert group_of("v1") == TUNED


def test_short_is_what_any_version_reaches() -> None:
    """An input is short if no version ends shorter on its fault and reason."""
    old, new = row("v1", [3, 4], ["a", "b"]), row("v1", [3, 3], ["a"])
    lines = list(groups({"old": [old], "new": [new]}))

    assert lines[2:] == [
        f"| {TUNED} | old | 1 | 2 | 2 | 7 | 1 | 100 | 100 | 0 | 0 |",
        f"| {TUNED} | new | 1 | 2 | 1 | 6 | 2 | 100 | 100 | 0 | 0 |",
    ]


def test_mutants_are_minimized(tmp_path: Path) -> None:
    """Inputs that kill a mutant are minimized in a process that carries it out."""
    killed = [
        each
        for line in RESULTS.read_text().splitlines()
        if (each := json.loads(line))["verdict"] == "killed"
    ]
    one = min(killed, key=lambda each: int(each["executions"]))
    path = tmp_path / "killed.jsonl"
    path.write_text(json.dumps(one) + "\n")
    (found,) = of_mutants(Namespace(mutants=path, inputs=2, budget=400, seed=4))

    assert (found.subject, found.group) == (one["mutant"], MUTANTS)
    assert found.reason == one["reason"]
    assert max(found.lengths) < 32
