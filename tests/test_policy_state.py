"""A policy with a state of its own: campaigns, copies and proofs work with it, compiled or not."""

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.mm.flush import Walk
from shootdown.mm.world import World
from shootdown.optimized.latr import LatrFlush, LatrState
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.state import X86State
from shootdown.optimized.strategy import GatherFlush
from shootdown.prove.canonical import key_of
from shootdown.run.execute import apply, boot
from shootdown.scenario import Header, parse
from tests.command import document, inside

POLICY = '''"""Linux, which counts the gathers of each address space, and makes every third flush a full one."""

from shootdown.optimized.policy import Policy
from shootdown.optimized.rules import linux, linux_huge
from tests.test_policy_state import Counting

POLICY = Policy("counting", linux, linux_huge, strategy=Counting)
'''
LINUX = REGISTRY["linux"]
STORY = """shootdown-scenario 1
cpus 2
pages 2
layout private

cpu0 write p0
cpu1 read p0
cpu0 munmap p0
cpu0 write p1
cpu1 read p1
cpu0 munmap p1
"""


class CountingState(X86State):
    """X86State, with `opened`: how many gathers were opened, counted from 0 to 2."""

    def __init__(self, cpus: int, asids: int, batch: int) -> None:
        super().__init__(cpus, asids, batch)
        self.opened = 0

    def write(self, walk: Walk, cpus: int) -> None:
        """Write the count."""
        del cpus
        walk.write(self.opened)


class Counting(GatherFlush):
    """Counts, and widens every third gather to the whole address space."""

    def new_state(self, cpus: int, asids: int, batch: int) -> CountingState:
        """Begin with no gather opened."""
        return CountingState(cpus, asids, batch)

    def gather_begin(self, w: World, cpu: int, mm: int) -> None:
        """Open a gather."""
        super().gather_begin(w, cpu, mm)
        state: CountingState = w.flush_state
        state.opened = (state.opened + 1) % 3
        if not state.opened:
            self.gather_of(w, cpu).record(0, w.pages)


class Forgetful(LatrState):
    """Leaves out of the key what it has postponed."""

    def write(self, walk: Walk, cpus: int) -> None:
        """Write nothing."""


class ForgetfulFlush(LatrFlush):
    """LATR with that state."""

    def new_state(self, cpus: int, asids: int, batch: int) -> Forgetful:
        """Begin with nothing put off."""
        return Forgetful(cpus, asids, batch)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Return the policy's file."""
    path = tmp_path / "counting.py"
    path.write_text(POLICY)
    return path


def test_the_state_is_part_of_a_world() -> None:
    """A copy has the state as it was, and changes independently; the key of a proof contains it."""
    scenario = parse(STORY).scenario
    w, oracle = boot(scenario.header, replace(LINUX, strategy=Counting).make())
    for record in scenario.records[:3]:
        apply(w, record)
    state: CountingState = w.flush_state
    before = state.opened
    copied, _ = oracle.fork()
    mine: CountingState = copied.flush_state
    assert isinstance(mine, CountingState)
    for record in scenario.records[3:]:
        apply(w, record)

    assert state.opened != before
    assert mine.opened == before
    key = key_of(w, oracle)
    state.opened = (state.opened + 1) % 3
    assert key_of(w, oracle) != key


def test_a_campaign_and_a_proof_run_with_it(tmp_path: Path, policy: Path) -> None:
    """Nothing illegal in a short campaign, nor in a small proof, which has more worlds than that of Linux."""
    fuzz = (
        "fuzz",
        "--policy",
        policy,
        "--execs",
        "200",
        "--workers",
        "1",
        "--seed",
        "1",
        "--quiet",
    )
    assert inside(tmp_path, *fuzz).code == 0
    scope = ("--cpus", "2", "--pages", "1", "--ops", "2", "--operations", "write,munmap,dontneed")
    ours = document(tmp_path, "prove", "--policy", policy, *scope, "--workers", "1")
    linux = document(tmp_path, "prove", "--policy", "linux", *scope, "--workers", "1")

    assert (ours["verdict"], linux["verdict"]) == ("legal", "legal")
    assert ours["worlds"] > linux["worlds"]


def test_a_state_that_leaves_out_an_epoch_is_refused() -> None:
    """Everything that is postponed must be in the key; a state that does not write it is not usable for a proof."""
    scenario = parse(STORY.replace("munmap", "dontneed")).scenario
    w, oracle = boot(Header(2, 2, batch=2), replace(LINUX, strategy=ForgetfulFlush).make())
    for record in scenario.records[:3]:
        apply(w, record)

    assert w.flush_state.lazy_frees
    with pytest.raises(ValueError, match=r"^Forgetful\.write leaves out what is postponed"):
        key_of(w, oracle)
