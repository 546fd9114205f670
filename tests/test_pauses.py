"""The pauses of a campaign's inputs: at each point at which the strategy under test can stop, and at no other."""

import random
from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.fuzz.engines.registry import ENGINES, drive
from shootdown.fuzz.engines.session import Session
from shootdown.fuzz.inputs import mutate
from shootdown.fuzz.inputs.pauses import OF_MODELS, Pauses
from shootdown.mm.step import NAMES, POINTS, STEP_POINTS, STEPS, TAKES, points_of_models, step
from shootdown.optimized.policies import REGISTRY
from shootdown.optimized.strategy import GatherFlush
from shootdown.reference.eager import EagerFlush
from shootdown.run.execute import Outcome
from shootdown.scenario import Scenario, corpus, encode, kinds
from shootdown.scenario.binary import WIDTH, decode, run_at
from tests.step_sources import sources

COUNTED = frozenset(range(kinds.FIRST_POINT))
"""No pause, and the pauses after a number of steps."""
SHARED = ("lock", "flush")
ONLY_IN_C = ("mask", "shared")
IN_PROCESS = sorted(name for name, engine in ENGINES.items() if engine.in_process)
BYTES = st.binary(max_size=WIDTH * 12)


class StopsElsewhere(GatherFlush):
    """A strategy that can stop at a few points of the models, and at places of a kernel's own C."""

    def points(self) -> tuple[str, ...]:
        """Return these points."""
        return (*SHARED, *ONLY_IN_C)


class Silent:
    """A report that drops everything."""

    def failure(self, _data: bytes, _outcome: Outcome) -> None:
        """Do nothing."""

    def interesting(self, _data: bytes) -> None:
        """Do nothing."""


class Recorded(Session):
    """A session that notes what it runs."""

    def run_scenario(self, scenario: Scenario, data: bytes | None = None) -> set[int]:
        """Execute a scenario as Session does."""
        self.__dict__.setdefault("ran", []).append(scenario)
        return super().run_scenario(scenario, data)


def ran(engine: str, strategy: type[GatherFlush], seeds: Collection[bytes] = ()) -> list[Scenario]:
    """Return the first inputs of a campaign of that strategy."""
    session = Recorded(
        replace(REGISTRY["linux"], name="mine", strategy=strategy),
        seed=1,
        records=16,
        corpus=list(seeds),
        report=Silent(),
        stop=lambda: session.executions >= 400,
    )
    drive(engine, session)
    scenarios: list[Scenario] = session.__dict__["ran"]
    return scenarios


def pauses_in(scenarios: Collection[Scenario]) -> set[int]:
    """Return every run field."""
    return {record[2] for scenario in scenarios for record in scenario.records}


@pytest.mark.parametrize("engine", IN_PROCESS)
def test_an_engine_draws_the_points_of_its_strategy(engine: str) -> None:
    """Every engine pauses at each point of the strategy, those of a kernel's own C included, and at no other."""
    shown = pauses_in(ran(engine, StopsElsewhere))

    assert shown - COUNTED == set(kinds.pauses_at((*SHARED, *ONLY_IN_C)))
    assert pauses_in(ran(engine, GatherFlush)) - COUNTED == set(kinds.pauses_at(points_of_models()))


@pytest.mark.parametrize("change", [mutate.mutate, mutate.retype, mutate.redraw, mutate.vary])
@given(data=BYTES, seed=st.integers(0, 2**64 - 1))
def test_a_changed_input_pauses_where_the_strategy_stops(
    change: object, data: bytes, seed: int
) -> None:
    """Whatever the input was, its pauses at other points are gone after a change."""
    assert callable(change)
    pauses = Pauses(SHARED)
    changed = change(random.Random(seed), data, 16, pauses)
    crossed = mutate.crossover(random.Random(seed), data, data[::-1], 16, pauses)

    allowed = COUNTED | {*kinds.pauses_at(SHARED)}
    assert pauses_in([decode(changed), decode(crossed)]) <= allowed


def test_a_story_of_the_corpus_keeps_its_pauses() -> None:
    """What fits stays: no pause of a story is replaced by another one, because models stop at each of them."""
    for parsed in corpus.load().values():
        data = bytearray(encode(parsed.scenario))
        OF_MODELS.fit(data)
        assert bytes(data) == encode(parsed.scenario)


@given(BYTES)
def test_what_fits_is_left_alone(data: bytes) -> None:
    """Fitting changes pauses only, in the records that pause elsewhere, and once."""
    pauses = Pauses(SHARED)
    allowed = COUNTED | {*kinds.pauses_at(SHARED)}
    whole = data[: len(data) // WIDTH * WIDTH]
    fitted = bytearray(whole)
    pauses.fit(fitted)

    for at in range(WIDTH, len(whole), WIDTH):
        before = whole[at : at + WIDTH]
        after = fitted[at : at + WIDTH]
        assert run_at(fitted, at) in allowed
        if run_at(whole, at) in allowed:
            assert after == before
        assert (before[0], before[1] & 7, before[2] & 0x3F, before[3]) == (
            after[0],
            after[1] & 7,
            after[2] & 0x3F,
            after[3],
        )


@pytest.mark.parametrize("policy", REGISTRY)
def test_a_policy_stops_at_the_points_of_the_models(policy: str) -> None:
    """Every strategy in Python can stop where the sources of the models have a step, and nowhere else."""
    rooms = ("mm/", "optimized/")
    named = {
        signature.point
        for path, module in sources().items()
        if path.startswith(rooms)
        for signature in module.signatures.values()
    }

    assert set(REGISTRY[policy].make().points()) == named - {""}
    assert EagerFlush().points() == REGISTRY[policy].make().points()


def test_only_a_kernels_own_c_has_places_inside_a_flush() -> None:
    """No step of the models pauses before a CPU mask or another CPU's data, or in a loop that waits."""
    only = {"mask", "remote", "loaded", "pending", "invalidate", "shared", "wait"}

    assert {*STEP_POINTS} - {*points_of_models()} == only


def test_a_step_in_c_adds_no_point_to_the_models() -> None:
    """A strategy that runs a kernel's C registers its steps, and campaigns of Python policies never draw them."""
    before = points_of_models()
    step("a place in C", "shared", in_c=True)(lambda _w, _cpu, _s: None)
    try:
        assert (NAMES[-1], POINTS[-1]) == ("a place in C", "shared")
        assert points_of_models() == before
    finally:
        for registered in (STEPS, NAMES, POINTS, TAKES):
            registered.pop()
