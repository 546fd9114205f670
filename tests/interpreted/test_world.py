"""The world as plain data: copies, keys, and runs that repeat."""

import contextlib
from collections.abc import Callable
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.machine.plain import Plain
from shootdown.mm.frames import OutOfMemoryError
from shootdown.mm.observer import Observer
from shootdown.mm.state import State, Step
from shootdown.mm.watch import Watch
from shootdown.mm.world import FlushStrategy, World
from shootdown.optimized.policies import REGISTRY
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import DeadlockError, apply, boot, execute, finish
from shootdown.run.oracle import Oracle
from shootdown.scenario import Header, Record, Scenario
from shootdown.scenario.corpus import load
from tests.kernel import Kernel, R, Told
from tests.strategies import any_scenario

STRATEGIES: dict[str, Callable[[], FlushStrategy]] = {
    "reference": EagerFlush,
    **{name: policy.make for name, policy in REGISTRY.items()},
}


class Deaf:
    """An observer that ignores everything, so that a world runs on whatever it shows."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def deaf() -> Observer:
    """Return a new deaf observer."""
    return cast("Observer", Deaf())


def play(w: World, scenario: Scenario, first: int, last: int) -> None:
    """Apply the records of a scenario, up to the first one for which no frame is left."""
    try:
        for record in scenario.records[first:last]:
            apply(w, record)
    except OutOfMemoryError:
        return


def booted(scenario: Scenario, strategy: FlushStrategy) -> World:
    """Return the world in which a scenario starts, unobserved."""
    w, _ = boot(scenario.header, strategy)
    w.observer = deaf()
    return w


@given(any_scenario(), st.sampled_from(sorted(STRATEGIES)), st.integers(0, 32))
def test_a_copy_is_equal_and_independent(scenario: Scenario, name: str, cut: int) -> None:
    """In the middle of a run a copy has the same key, keeps it while the original runs on, and then runs the same."""
    w = booted(scenario, STRATEGIES[name]())
    play(w, scenario, 0, cut)
    copy, key = w.copy(), w.key()
    play(w, scenario, cut, 32)
    assert copy.key() == key
    play(copy, scenario, cut, 32)

    assert copy.key() == w.key()
    assert (copy.costs, copy.executed) == (w.costs, w.executed)


def mutable_parts(value: object, seen: dict[int, object]) -> dict[int, object]:
    """Return every list, dictionary, set and object of state that can be reached from a value, by identity."""
    if id(value) in seen:
        return seen
    if isinstance(value, list | dict | set | Plain):
        seen[id(value)] = value
    if isinstance(value, list | tuple):
        for part in value:
            mutable_parts(part, seen)
    elif isinstance(value, dict):
        for part in value.values():
            mutable_parts(part, seen)
    elif isinstance(value, Plain):
        for name, part in vars(value).items():
            if name not in value.SHARED:
                mutable_parts(part, seen)
    return seen


def busy_kernel() -> Kernel:
    """Return a kernel in the middle of several operations, so that no part of the state is empty."""
    k = Kernel(cpus=3, pages=8)
    k.write(0)
    k.run(0, "fork")
    k.write(0, 5)
    k.run(0, "free", 5)
    k.start(0, "munmap", 2, 6)
    k.until(0, "tlb_finish_mmu")
    k.start(1, "migrate", 0, 1, 1)
    k.until(1, "flush before copy")
    return k


@pytest.mark.parametrize("make", ["linux", "reference"])
def test_a_copy_shares_no_mutable_part(make: str) -> None:
    """No list, dictionary or state object of a copy is one of the original's; nor is one of an oracle's copy."""
    w = busy_kernel().w if make == "linux" else boot(Header(2, 2), EagerFlush())[0]
    copy, oracle = cast("Oracle", w.observer).fork()
    mine = mutable_parts(w, mutable_parts(w.observer, {}))
    theirs = mutable_parts(copy, mutable_parts(oracle, {}))

    assert len(mine) > 50
    assert not mine.keys() & theirs.keys()
    assert copy.key() == w.key()
    for name in set(oracle.fields()) - oracle.SHARED:
        assert repr(getattr(oracle, name)) == repr(getattr(w.observer, name))


def test_state_is_plain() -> None:
    """The strategy, the observer and the watch are no part of State, and everything else in a world is."""
    w = busy_kernel().w

    assert (
        vars(w).keys() - {"flush", "observer", "watch"}
        == vars(State(w.machine, None, cpus=3, pages=8, batch=4)).keys()
    )


def noting(steps: list[tuple[int, Step]]) -> Watch:
    """Return a watch that appends each step to the list."""
    return Told(lambda _w, cpu, s: steps.append((cpu, s)))


def test_a_copy_keeps_a_store_to_the_zero_page() -> None:
    """No kernel lets one happen, but a broken policy may, and its copy goes on from there."""
    w = busy_kernel().w
    w.machine.memory[0] = 7

    assert w.copy().machine.memory[0] == 7


def test_a_key_can_be_hashed() -> None:
    """Keys go into sets, and equal worlds are one element."""
    w = busy_kernel().w

    assert len({w.key(), w.copy().key()}) == 1


@given(any_scenario(), st.sampled_from(sorted(STRATEGIES)))
def test_a_run_repeats(scenario: Scenario, name: str) -> None:
    """The same scenario under the same policy makes the same steps with the same verdict, costs and last state."""
    runs = []
    for _ in range(2):
        steps: list[tuple[int, Step]] = []
        outcome = execute(scenario, STRATEGIES[name](), watch=noting(steps))
        violation = outcome.violation
        runs.append(
            (
                outcome.verdict,
                outcome.reason,
                (violation.slot, violation.cpu, violation.kind) if violation else None,
                outcome.costs,
                outcome.steps,
                outcome.world.key(),
                steps,
            )
        )

    assert runs[0] == runs[1]


@given(any_scenario())
def test_an_observer_changes_nothing(scenario: Scenario) -> None:
    """The world runs the same under the oracle and under an observer that ignores everything."""
    watched, oracle = boot(scenario.header, REGISTRY["linux"].make())
    assert isinstance(oracle, Oracle)
    unwatched = booted(scenario, REGISTRY["linux"].make())
    for w in (watched, unwatched):
        play(w, scenario, 0, 32)

    assert watched.key() == unwatched.key()


@given(any_scenario())
def test_feedback_is_about_what_is_in_flight(scenario: Scenario) -> None:
    """Feedback is asked for after each record that leaves an operation in flight, and after no other record."""
    told: list[tuple[Record, int]] = []
    execute(
        scenario,
        REGISTRY["linux"].make(),
        observe=lambda w, _oracle, record, _shown: told.append((record, w.executed)),
        shown=set(),
    )
    w = booted(scenario, REGISTRY["linux"].make())
    expected = []
    with contextlib.suppress(OutOfMemoryError):
        for record in scenario.records:
            apply(w, record)
            if any(w.steps):
                expected.append((record, w.executed))

    assert told == expected


@pytest.mark.parametrize("end", ["legal", "illegal", "undecided"])
def test_an_oracle_lets_go_of_its_world(end: str) -> None:
    """However a run ends, its oracle keeps what it recorded and no longer refers to the world."""
    story = load()["bad_c1_lose_batch" if end == "illegal" else "good_mprotect_aba"].scenario
    strategy = REGISTRY["lose-batch"].make()
    with patch("shootdown.run.execute.STEP_LIMIT", 3 if end == "undecided" else 1000):
        outcome = execute(story, strategy)

    assert outcome.verdict == end
    assert outcome.oracle.versions[0] != (0,)
    assert not hasattr(outcome.oracle, "world")


def test_a_watch_changes_nothing() -> None:
    """A watch that is called for each step is not part of the state."""
    k = Kernel()
    k.w.watch = None
    k.write(0)
    k.run(0, "mprotect", arg=R)
    other = Kernel()
    other.write(0)
    other.run(0, "mprotect", arg=R)

    assert k.w.key() == other.w.key()
    assert k.w.executed == other.w.executed > 0


def test_nobody_left_to_wait_for_is_an_error_of_the_model() -> None:
    """A CPU that waits while no other can move ends the run with DeadlockError instead of hanging."""
    k = Kernel()
    k.w.mmap_lock[0] = 1
    k.start(0, "mprotect", arg=R)

    with pytest.raises(DeadlockError, match="CPU 0 waits"):
        finish(k.w, 0)


SOUND = ["reference", "always", "v3", "linux-5.19", "linux", "minimal", "minimal-exec-check"]


@pytest.mark.parametrize("name", SOUND)
@given(scenario=any_scenario())
def test_no_sound_run_deadlocks_or_is_illegal(name: str, scenario: Scenario) -> None:
    """Every interleaving ends under the reference and under each sound policy, and leaves no CPU busy."""
    outcome = execute(scenario, STRATEGIES[name]())

    assert outcome.verdict in ("legal", "undecided"), outcome.reason
    assert outcome.verdict == "undecided" or not any(outcome.world.steps)
