"""A proof from beginning to end: several workers, limits, checkpoints, and the counterexample as a scenario."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.mm.world import World
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.strategy import GatherFlush
from shootdown.prove import driver
from shootdown.prove.checkpoint import load, save
from shootdown.prove.counterexample import operations_in, scenario_of, without_idle_hardware
from shootdown.prove.driver import FIRST_SLOTS, PATH_BYTES, Prover, Result, State
from shootdown.prove.scope import Scope, scope_of
from shootdown.prove.visited import MOST, SLOT
from shootdown.run.execute import execute
from shootdown.scenario import Header, Scenario, decode, encode, kinds, parse
from shootdown.system.refusal import Refusal

ROOM = FIRST_SLOTS * SLOT
"""The memory of a prover without a path."""
IDENTITY = {"policy": "linux", "ops": 2}


def bounded(*names: str, ops: int, cpus: int = 2, layout: int = kinds.PRIVATE) -> Scope:
    """Return the scope of one page and these operations."""
    return scope_of(Header(cpus, 1, layout), ops, names)


SMALL = bounded("read", "dontneed", ops=2)


def whole() -> Result:
    """Return the uninterrupted proof of the small scope."""
    return Prover(SMALL, REGISTRY["linux"].make()).run()


def figures(result: Result) -> tuple[object, ...]:
    """Return the parts of a result that must not depend on interruptions."""
    state = result.state
    return result.verdict, state.level, state.worlds, state.transitions, state.cut


# Limits and checkpoints.


def test_a_legal_scope() -> None:
    """The verdict of a scope without a violation comes with what was explored, up to the last operation."""
    result = whole()

    assert result.verdict == "legal"
    assert result.state.level == SMALL.ops
    assert 100 < result.state.worlds < result.state.transitions


def with_keys(workers: int) -> tuple[Result, set[int]]:
    """Return the proof of the small scope by some workers, and the hashes of all worlds."""
    keys: set[int] = set()
    prover = Prover(SMALL, REGISTRY["linux"].make(), workers=workers)

    def look(_state: State) -> None:
        keys.update(key & ~MOST for key in prover.visited)

    prover.view = look
    return prover.run(), keys


def test_two_workers_find_what_one_finds() -> None:
    """The set of worlds is the same with two workers; a world that both make at once may be counted twice."""
    (one, its_keys), (two, their_keys) = with_keys(1), with_keys(2)

    assert one.verdict == two.verdict == "legal"
    assert its_keys == their_keys
    assert one.state.worlds == len(its_keys) <= two.state.worlds


def test_two_workers_find_a_violation() -> None:
    """The verdict and the number of operations do not depend on the workers."""
    scope = bounded("write", "munmap", ops=3)
    strategy = REGISTRY["free-before-flush"].make()
    for workers in (1, 2):
        result = Prover(scope, strategy, workers=workers, rules=frozenset({"C3"})).run()

        assert (result.verdict, result.state.level) == ("illegal", 1)
        assert operations_in(scenario_of(result.path, scope, strategy)) == 2


def test_stopped_by_memory_and_continued(tmp_path: Path) -> None:
    """A proof that met the memory limit goes on from its checkpoint, and ends as if it had not been interrupted."""
    path = tmp_path / "proof"

    def keep(state: State, keys: Iterable[int]) -> None:
        save(path, IDENTITY, state, keys)

    strategy = REGISTRY["linux"].make()
    stopped = Prover(SMALL, strategy, memory=ROOM + 4 * PATH_BYTES, save=keep).run()

    assert (stopped.verdict, stopped.why) == ("undecided", "the memory limit of 8 MiB was reached")
    state, keys = load(path, IDENTITY)
    assert 0 < state.worlds == len(keys) < whole().state.worlds
    assert figures(Prover(SMALL, strategy).run(state, keys)) == figures(whole())


def test_stopped_after_every_round(tmp_path: Path) -> None:
    """However often a proof is stopped, it ends as the uninterrupted one."""
    path = tmp_path / "proof"
    strategy = REGISTRY["linux"].make()

    def keep(state: State, keys: Iterable[int]) -> None:
        save(path, IDENTITY, state, keys)

    result = Prover(SMALL, strategy, seconds=0.0, save=keep).run()
    stops = 0
    while result.verdict == "undecided":
        assert result.why == "the time limit was reached"
        stops += 1
        state, keys = load(path, IDENTITY)
        result = Prover(SMALL, strategy, seconds=0.0, save=keep).run(state, keys)

    assert stops > 1
    assert figures(result) == figures(whole())


def test_a_checkpoint_too_large_for_the_memory(tmp_path: Path) -> None:
    """A proof without room for the content of its checkpoint stops, and leaves the checkpoint as it was."""
    path = tmp_path / "proof"
    strategy = REGISTRY["linux"].make()

    def keep(state: State, keys: Iterable[int]) -> None:
        save(path, IDENTITY, state, keys)

    Prover(SMALL, strategy, memory=ROOM + 4 * PATH_BYTES, save=keep).run()
    before = load(path, IDENTITY)
    stopped = Prover(SMALL, strategy, memory=1, save=keep).run(*load(path, IDENTITY))

    assert stopped.verdict == "undecided"
    assert load(path, IDENTITY)[0] == before[0]
    assert sorted(load(path, IDENTITY)[1]) == sorted(before[1])


class Dies(GatherFlush):
    """A strategy that ends the process that uses it, unless it is the first."""

    first = os.getpid()

    def gather_begin(self, w: World, cpu: int, mm: int) -> None:
        """Die in a worker."""
        if os.getpid() != self.first:
            os.kill(os.getpid(), signal.SIGKILL)
        super().gather_begin(w, cpu, mm)


def test_a_lost_worker() -> None:
    """A worker that is killed loses its paths: the proof fails and does not wait for ever."""
    prover = Prover(SMALL, replace(REGISTRY["linux"], strategy=Dies).make(), workers=2)

    with pytest.raises(Refusal, match=r"^A worker of the proof was lost"):
        prover.run()
    assert not multiprocessing.active_children()


def test_workers_that_are_ended_before_they_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them is slow to give up the handlers of this process, which only note a SIGTERM."""
    begin = driver._leave_interrupts_to_the_parent

    def slowly() -> None:
        time.sleep(0.5)
        begin()

    monkeypatch.setattr(driver, "_leave_interrupts_to_the_parent", slowly)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        pool = driver._pool(2)
        pool.terminate()
        pool.join()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert not multiprocessing.active_children()


def test_a_violation_of_another_rule_does_not_count() -> None:
    """With rules given, a run that breaks another one ends there, and the proof goes on."""
    scope = bounded("write", "munmap", ops=2)
    strategy = REGISTRY["free-before-flush"].make()

    assert Prover(scope, strategy).run().verdict == "illegal"
    assert Prover(scope, strategy, rules=frozenset({"C5"})).run().verdict == "legal"


def test_the_view_sees_every_operation() -> None:
    """The view is told of each round, and at last that all operations are explored."""
    levels: list[int] = []
    Prover(SMALL, REGISTRY["linux"].make(), view=lambda state: levels.append(state.level)).run()

    assert sorted(levels) == levels
    assert {*levels} == {0, 1, 2}


def test_more_operations_contain_fewer() -> None:
    """The worlds explored with up to two operations are a part of those with up to three."""
    one, two = (
        Prover(SMALL._replace(ops=ops), REGISTRY["linux"].make()).run().state for ops in (1, 2)
    )

    assert one.worlds < two.worlds
    assert one.transitions < two.transitions


@pytest.mark.parametrize(
    ("policy", "names", "ops", "cpus"),
    [
        ("v1", ("read", "exec", "mprotect"), 3, 1),
        ("v1", ("exec", "mprotect"), 2, 2),
        ("free-before-flush", ("write", "munmap"), 2, 2),
        ("skip-write-protect", ("write", "mprotect"), 2, 2),
        ("drop-last-page", ("write", "mprotect"), 2, 2),
        ("copy-before-flush", ("write", "migrate"), 2, 2),
        ("skip-lazy-tables", ("read", "munmap", "lazy"), 3, 2),
        ("v1-pending-leak", ("read", "mprotect"), 2, 2),
        ("skip-dirty-clear", ("write", "free", "reclaim"), 4, 1),
        ("trust-accessed", ("write", "age", "mprotect"), 4, 1),
    ],
)
def test_the_scenario_shows_the_same(
    policy: str, names: tuple[str, ...], ops: int, cpus: int
) -> None:
    """A counterexample is a canonical scenario that fails for the same reason when it is executed."""
    scope = bounded(*names, ops=ops, cpus=cpus)
    strategy = REGISTRY[policy].make()
    result = Prover(scope, strategy).run()
    assert result.verdict == "illegal"
    scenario = scenario_of(result.path, scope, strategy)

    assert execute(scenario, REGISTRY[policy].make()).reason == result.reason
    assert decode(encode(scenario)) == scenario
    assert operations_in(scenario) == result.state.level + 1


def test_idle_hardware_is_left_out() -> None:
    """Fills and evictions that the violation does not need are removed; the one that it needs stays."""
    head = "shootdown-scenario 1\ncpus 2\npages 1\nlayout private\n\n"
    text = """cpu0 write p0
        cpu0 fill p0
        cpu1 fill p0
        cpu0 mprotect p0 r
        cpu0 evict p0
        cpu0 fill p0
        cpu1 write p0"""
    scenario = parse(head + "\n".join(line.strip() for line in text.splitlines()) + "\n").scenario
    strategy = REGISTRY["skip-write-protect"].make()
    fewer = without_idle_hardware(scenario, strategy)

    assert execute(fewer, strategy).reason == execute(scenario, strategy).reason == "stale-grant"
    assert [kinds.KINDS[record[0]].name for record in fewer.records] == [
        "write",
        "fill",
        "mprotect",
        "write",
    ]
    assert isinstance(fewer, Scenario)
