"""Whole scenarios on QEMU's MMU: the corpus, random ones, and `--machine qemu`."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK
from shootdown.conform.qemu.like import LikeQemu
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.machine.qemu import processors
from shootdown.machine.qemu.machine import QemuMachine
from shootdown.machine.x86 import Machine
from shootdown.mm.world import FlushStrategy
from shootdown.optimized.policies import REGISTRY
from shootdown.run.execute import Outcome, execute
from shootdown.scenario import Expectation, Scenario
from shootdown.scenario.corpus import load
from shootdown.scenario.verdict import LEGAL
from tests.command import NX as NX_SCENARIO
from tests.command import complaint, document, inside


def on(machine_type: type[Machine], scenario: Scenario, strategy: FlushStrategy) -> Outcome:
    """Return what a scenario shows on a machine."""
    return execute(scenario, strategy, machine_type=machine_type)


def shown(outcome: Outcome) -> tuple[str, str]:
    """Return verdict and reason."""
    return outcome.verdict, outcome.reason


def test_legal_stories_are_legal_on_qemu() -> None:
    """Each scenario of the corpus that is legal under a policy is so on QEMU's MMU."""
    wrong = [
        (name, expected.policy, outcome.reason)
        for name, expected, outcome in corpus_on_qemu()
        if not expected.rule and outcome.verdict != LEGAL
    ]

    assert wrong == []


def test_illegal_stories_show_what_qemu_allows() -> None:
    """On QEMU's MMU each illegal scenario shows the same, or what the machine restricted to QEMU's behaviour shows.

    The restriction explains it: QEMU has no spurious fault, no upper cache, and always walks before it sets D.
    """
    corpus = load()
    differ = 0
    for name, expected, outcome in corpus_on_qemu():
        if expected.rule and outcome.reason != expected.reason:
            differ += 1
            like = on(LikeQemu, corpus[name].scenario, REGISTRY[expected.policy].make())
            assert shown(like) == shown(outcome), name

    assert differ < 20


def corpus_on_qemu() -> Iterator[tuple[str, Expectation, Outcome]]:
    """Yield the scenarios of the corpus with what they show on QEMU's MMU under each policy that they name.

    They are yielded one after the other, because an outcome keeps its emulators.
    """
    for name, parsed in load().items():
        for expected in parsed.expectations:
            strategy = REGISTRY[expected.policy].make()
            yield name, expected, on(QemuMachine, parsed.scenario, strategy)


@pytest.mark.parametrize("policy", ["linux", "v1", "v1-huge-unrecorded"])
def test_random_scenarios_show_the_same(policy: str) -> None:
    """On QEMU's MMU a random scenario shows what it shows on the machine, or on the machine restricted to QEMU."""
    strategy = REGISTRY[policy].make()
    for seed in range(150):
        scenario = random_scenario(Random(seed), 32)
        outcome = shown(on(QemuMachine, scenario, strategy))
        if shown(on(Machine, scenario, strategy)) != outcome:
            assert shown(on(LikeQemu, scenario, strategy)) == outcome, seed


def test_a_scenario_repeats_itself_on_qemu() -> None:
    """The same scenario shows the same again, in the same steps, whatever ran in between."""
    strategy = REGISTRY["v1-huge-unrecorded"].make()
    scenarios = [random_scenario(Random(seed), 32) for seed in range(30)]
    runs = [
        [(shown(o), o.steps, tuple(o.costs)) for o in (on(QemuMachine, s, strategy) for s in order)]
        for order in (scenarios, scenarios[::-1])
    ]

    assert runs[0] == runs[1][::-1]


def test_instances_are_used_again() -> None:
    """An emulator is made once and serves all machines, even those that only the garbage collector ends."""
    scenario = random_scenario(Random(1), 32)
    on(QemuMachine, scenario, REGISTRY["linux"].make())
    gc.collect()
    before = len(processors._ALL)
    for _ in range(5):
        outcome = on(QemuMachine, scenario, REGISTRY["linux"].make())
        loop: list[object] = [outcome]
        loop.append(loop)
        del outcome, loop
        gc.collect()

    assert len(processors._ALL) == before


def test_qemu_cannot_be_copied() -> None:
    """QEMU's cached entries cannot be copied, and an attempt is refused."""
    with pytest.raises(TypeError, match="cannot be copied"):
        QemuMachine(1).copy()


def test_replay_on_qemu(tmp_path: Path) -> None:
    """`replay --machine qemu` runs on QEMU's MMU, which has no spurious fault, and says how to repeat it."""
    (tmp_path / "nx.txt").write_text(NX_SCENARIO)
    model = inside(tmp_path, "replay", "nx.txt", "--policy", "v1")
    qemu = inside(tmp_path, "replay", "nx.txt", "--policy", "v1", "--machine", "qemu")

    assert (model.code, qemu.code) == (ILLEGAL_FOUND, OK)
    assert "nx.txt, policy v1, QEMU's MMU: legal" in qemu.out
    assert qemu.out.endswith("shootdown replay nx.txt --policy v1 --machine qemu\n")


def test_fuzz_on_qemu(tmp_path: Path) -> None:
    """A campaign runs its workers, its minimizer and its report on QEMU's MMU."""
    options = ["--policy", "v1-huge-unrecorded", "--execs", "600", "--workers", "1", "--seed", "1"]
    told = document(
        tmp_path, "fuzz", *options, "--engine", "random", "--machine", "qemu", "--quiet", code=1
    )

    assert (told["machine"], told["totals"]["executions"]) == ("qemu", 600)
    assert told["findings"]
    assert all(found["replay"].endswith("--machine qemu") for found in told["findings"])
    again = inside(tmp_path, "replay", told["findings"][0]["id"], "--machine", "qemu")
    assert (again.code, "QEMU's MMU: illegal" in again.out) == (ILLEGAL_FOUND, True)


def test_without_unicorn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without unicorn one sentence says so, and no database is made."""
    monkeypatch.setitem(sys.modules, "unicorn", None)
    (tmp_path / "nx.txt").write_text(NX_SCENARIO)
    for arguments in (["replay", "nx.txt", "--policy", "v1"], ["fuzz", "--policy", "v1"]):
        line = complaint(tmp_path, *arguments, "--machine", "qemu")
        assert "the package unicorn is not installed" in line
        assert "pip install 'shootdown[qemu]'" in line

    assert [path.name for path in tmp_path.iterdir()] == ["nx.txt"]
