"""The key of any world: it is the same for a renamed or copied world, and so is everything that follows."""

from random import Random

from hypothesis import assume, example, given
from hypothesis import strategies as st

from shootdown.machine.geometry import FRAMES
from shootdown.mm.frames import OutOfMemoryError
from shootdown.mm.world import World
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.state import X86State
from shootdown.prove.canonical import key_of
from shootdown.run.execute import StepLimitError, apply, boot, finish
from shootdown.run.oracle import Oracle, Violation
from shootdown.scenario import Header, Record, Scenario, corpus, kinds
from tests.strategies import any_scenario, examples


def rotated(scenario: Scenario, by: int) -> Scenario:
    """Return the same scenario on other CPUs."""
    cpus = scenario.header.cpus
    records = ((kind, (cpu + by) % cpus, *rest) for kind, cpu, *rest in scenario.records)
    return Scenario(scenario.header, tuple(_record(record) for record in records))


def _record(values: tuple[int, ...]) -> Record:
    kind, cpu, run, page, count, arg = values
    return kind, cpu, run, page, count, arg


def play(w: World, records: tuple[Record, ...]) -> str:
    """Apply records and return why the run ended before the last one, or ""."""
    try:
        for record in records:
            apply(w, record)
    except Violation as violation:
        return violation.reason
    except (OutOfMemoryError, StepLimitError) as error:
        return type(error).__name__
    return ""


def end(w: World, oracle: Oracle, records: tuple[Record, ...]) -> tuple[str, int, list[int]]:
    """Apply records, let every operation end, and return the reason, the steps and the costs."""
    reason = play(w, records)
    try:
        if not reason:
            for cpu in range(w.cpus):
                finish(w, cpu)
            oracle.at_rest()
    except Violation as violation:
        reason = violation.reason
    except (OutOfMemoryError, StepLimitError) as error:
        reason = type(error).__name__
    return reason, w.executed, w.costs


def booted(header: Header, policy: str) -> tuple[World, Oracle]:
    """Return the first world of a scenario under a policy."""
    return boot(header, REGISTRY[policy].make())


MORE = examples(3)
POLICIES = st.sampled_from(sorted(REGISTRY))


@MORE
@given(any_scenario(), POLICIES, st.integers(0, 32))
def test_a_copy_has_the_key_and_the_future(scenario: Scenario, policy: str, cut: int) -> None:
    """A copy in the middle of a run has the same key, and the rest of the scenario shows the same on both."""
    w, oracle = booted(scenario.header, policy)
    if play(w, scenario.records[:cut]):
        return
    copy, other = oracle.fork()

    assert key_of(copy, other) == key_of(w, oracle)
    assert end(copy, other, scenario.records[cut:]) == end(w, oracle, scenario.records[cut:])
    assert key_of(copy, other) == key_of(w, oracle)


@MORE
@given(any_scenario(), POLICIES, st.integers(0, 32), st.integers(1, 7))
@example(corpus.load()["bad_c1_sample_early"].scenario, "sample-early", 4, 1)
def test_rotated_cpus_have_the_key(
    scenario: Scenario, policy: str, cut: int, distance: int
) -> None:
    """A scenario and its rotation lead to worlds of one key, or end for the same reason."""
    turned = rotated(scenario, distance % scenario.header.cpus)
    w, oracle = booted(scenario.header, policy)
    other, its_oracle = booted(scenario.header, policy)
    ended = play(w, scenario.records[:cut])

    assert play(other, turned.records[:cut]) == ended
    if not ended:
        assert key_of(other, its_oracle) == key_of(w, oracle)


def has_huge(scenario: Scenario) -> bool:
    """Return whether a huge page is possible, whose frames keep their numbers."""
    return scenario.header.layout == kinds.HUGE or any(
        kind == kinds.MMAP and arg >> kinds.MAP_SHIFT == kinds.MAP_HUGE
        for kind, _, _, _, _, arg in scenario.records
    )


@MORE
@given(any_scenario(), POLICIES, st.integers(0, 32), st.randoms(use_true_random=False))
def test_renamed_frames_have_the_key(
    scenario: Scenario, policy: str, cut: int, draws: Random
) -> None:
    """The frames of a run, and the generations at its start, make no difference at any time."""
    assume(not has_huge(scenario))
    w, oracle = booted(scenario.header, policy)
    other, its_oracle = booted(scenario.header, policy)
    other.freed = [frame for frame in range(FRAMES) if other.free_frames >> frame & 1]
    draws.shuffle(other.freed)
    for frame in range(FRAMES):
        other.machine.generation[frame] += draws.randrange(9)
    state: X86State = other.flush_state
    later = draws.randrange(1, 20)
    state.tlb_gen = [generation + later for generation in state.tlb_gen]
    state.ctx_gen = [[generation + later for generation in slots] for slots in state.ctx_gen]
    ended = play(w, scenario.records[:cut])

    assert play(other, scenario.records[:cut]) == ended
    if not ended:
        assert key_of(other, its_oracle) == key_of(w, oracle)
        rest = scenario.records[cut:]
        assert end(other, its_oracle, rest) == end(w, oracle, rest)
