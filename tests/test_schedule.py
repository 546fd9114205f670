"""Interleavings and random scenarios: every schedule keeps the programs from which it was made."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.fuzz.engines.strategies import scenarios
from shootdown.fuzz.inputs.generate import random_scenario
from shootdown.fuzz.inputs.schedule import Program, lockstep, pct, programs, random_interleaving
from shootdown.mm.step import points_of_models
from shootdown.scenario import Record, Scenario, decode, encode, kinds

DEPTHS = st.integers(1, 6)
SEEDS = st.integers(0, 2**64 - 1)

READ = (kinds.READ, 0, 0, 0, 1, 0)
MPROTECT = (kinds.MPROTECT, 0, 0, 0, 1, kinds.PROT_READ)
UNMAP = (kinds.MUNMAP, 1, 0, 0, 1, 0)
WRITE = (kinds.WRITE, 1, 0, 0, 1, 0)

SCHEDULES: dict[str, Callable[[random.Random, Sequence[Program]], tuple[Record, ...]]] = {
    "lockstep": lambda _, work: lockstep(work),
    "random": random_interleaving,
    "pct 1": lambda draws, work: pct(draws, work, 1),
    "pct 3": lambda draws, work: pct(draws, work, 3),
    "pct 6": lambda draws, work: pct(draws, work, 6),
}


@pytest.mark.parametrize("name", SCHEDULES)
@given(scenario=scenarios(), seed=SEEDS)
def test_a_schedule_keeps_every_program(name: str, scenario: Scenario, seed: int) -> None:
    """Each CPU starts all its operations, in program order, with their fields unchanged."""
    work = programs(scenario)
    schedule = Scenario(scenario.header, SCHEDULES[name](random.Random(seed), work))

    assert programs(schedule) == work
    assert decode(encode(schedule)) == schedule


@pytest.mark.parametrize("name", SCHEDULES)
@given(scenario=scenarios(), seed=SEEDS)
def test_a_schedule_finishes_what_it_pauses(name: str, scenario: Scenario, seed: int) -> None:
    """No operation starts on a CPU that has one in flight, and none is in flight at the end."""
    in_flight = dict.fromkeys(range(scenario.header.cpus), False)
    for kind, cpu, run, *_ in SCHEDULES[name](random.Random(seed), programs(scenario)):
        if kind == kinds.RUN:
            assert in_flight[cpu]
        elif kinds.KINDS[kind].pausable:
            assert not in_flight[cpu]
        else:
            continue
        in_flight[cpu] = run != 0

    assert not any(in_flight.values())


@pytest.mark.parametrize("name", SCHEDULES)
@given(scenario=scenarios(), seed=SEEDS)
def test_a_seed_determines_the_schedule(name: str, scenario: Scenario, seed: int) -> None:
    """The same draws give the same records."""
    work = programs(scenario)
    first, second = (SCHEDULES[name](random.Random(seed), work) for _ in range(2))

    assert first == second


def test_programs_forget_pauses_and_runs() -> None:
    """A program is what a CPU does, not when: pauses and run records belong to the schedule."""
    scenario = decode(bytes((1, 0, 0, 0)))
    paused = (kinds.MPROTECT, 0, 20, 0, 1, kinds.PROT_READ)
    go_on = (kinds.RUN, 0, 3, 0, 1, 0)
    scenario = scenario._replace(records=(paused, WRITE, go_on, READ))

    assert programs(scenario) == ((MPROTECT, READ), (WRITE,))


def test_lockstep_takes_turns() -> None:
    """CPUs run round robin, and a CPU that has nothing left is skipped."""
    assert (READ, WRITE, MPROTECT, READ) == lockstep([(READ, MPROTECT, READ), (WRITE,)])


@given(scenarios(), DEPTHS, SEEDS)
def test_pct_pauses_at_change_points_only(scenario: Scenario, depth: int, seed: int) -> None:
    """There are at most depth - 1 pauses, and at most as many switches of CPU beyond the needed."""
    work = programs(scenario)
    schedule = pct(random.Random(seed), work, depth)

    assert sum(run != 0 for _, _, run, *_ in schedule) <= depth - 1
    blocks = [cpu for cpu, _ in itertools.groupby(schedule, key=lambda record: record[1])]
    # Each change of priority ends one block early and so makes at most two more.
    assert len(blocks) <= sum(bool(program) for program in work) + 2 * (depth - 1)


def test_pct_of_depth_one_tries_every_order_of_cpus() -> None:
    """Without change points, whole programs run one after the other, in each order."""
    orders = {pct(random.Random(seed), [(READ, MPROTECT), (WRITE,)], 1) for seed in range(20)}

    assert orders == {(READ, MPROTECT, WRITE), (WRITE, READ, MPROTECT)}


@pytest.mark.parametrize("schedule", ["random", "pct 3"])
def test_another_cpu_can_run_inside_an_operation(schedule: str) -> None:
    """The shape of most shootdown bugs is reached: cut at the flush, then a write, then the rest."""
    until_flush = kinds.FIRST_POINT + kinds.POINTS.index("flush")
    cut = (kinds.MPROTECT, 0, until_flush, 0, 1, kinds.PROT_READ)
    wanted = (cut, WRITE, (kinds.RUN, 0, 0, 0, 1, 0))
    work = [(MPROTECT,), (WRITE,)]

    assert any(SCHEDULES[schedule](random.Random(seed), work) == wanted for seed in range(3000))


def test_pct_can_cut_one_operation_twice() -> None:
    """The rest of an operation is work like any other, so a change point may fall on it again."""
    cuts = [
        [
            run
            for _, cpu, run, *_ in pct(random.Random(seed), [(MPROTECT,), (UNMAP,)], 3)
            if cpu == 0
        ]
        for seed in range(200)
    ]

    assert any(len(runs) == 3 and runs[0] and runs[1] and not runs[2] for runs in cuts)


@given(SEEDS, st.integers(0, 40))
def test_a_random_scenario_is_canonical_and_full(seed: int, records: int) -> None:
    """It has the requested number of records, and a machine whose dirty assist walks again."""
    scenario = random_scenario(random.Random(seed), records)

    assert len(scenario.records) == records
    assert decode(encode(scenario)) == scenario
    assert not scenario.header.machine & kinds.NO_DIRTY_REWALK
    assert random_scenario(random.Random(seed), records) == scenario


def test_random_scenarios_have_the_intended_weights() -> None:
    """Accesses are half of the operations, every kind and point of the models occurs, most worlds are small."""
    draws = random.Random(7)
    drawn = [random_scenario(draws) for _ in range(500)]
    records = [record for scenario in drawn for record in scenario.records]
    started = [record for record in records if record[0] != kinds.RUN]

    assert set(range(len(kinds.KINDS))) == {record[0] for record in records}
    assert {record[2] for record in records} == {
        *range(kinds.FIRST_POINT),
        *kinds.pauses_at(points_of_models()),
    }
    access = (kinds.READ, kinds.WRITE, kinds.EXEC, kinds.COPY)
    accesses = sum(record[0] in access for record in started)
    assert 0.45 < accesses / len(started) < 0.55
    assert sum(record[2] != 0 for record in records) / len(records) > 0.15
    cpus = Counter(scenario.header.cpus for scenario in drawn)
    assert cpus[2] + cpus[3] > 0.7 * len(drawn)
    assert sum(scenario.header.pages <= 4 for scenario in drawn) > 0.7 * len(drawn)
