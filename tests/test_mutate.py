"""Mutation: whole records, the size limit, one result for one seed, and no broken machine."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.fuzz.engines.strategies import scenarios
from shootdown.fuzz.inputs import mutate
from shootdown.fuzz.inputs.race_round import OPERATIONS
from shootdown.fuzz.inputs.races import needs_of
from shootdown.mm.step import points_of_models
from shootdown.scenario import Header, Record, Scenario, decode, encode, kinds
from shootdown.scenario.binary import WIDTH

BYTES = st.binary(max_size=4 + 20 * 4 + 3)
LIMITS = st.integers(1, 16)
SEEDS = st.integers(0, 2**64 - 1)

CHANGES = {change.__name__: change for change in mutate._CHANGES}


def changed(name: str, scenario: Scenario, seed: int) -> Scenario:
    """Return the scenario after one change, without a limit that matters."""
    records = bytearray(encode(scenario))
    CHANGES[name](random.Random(seed), records, mutate.Bounds(1000))
    return decode(bytes(records))


def assert_well_formed(data: bytes, max_records: int) -> None:
    """Assert a whole header, whole records, no more than allowed, and a machine that walks again."""
    assert len(data) % WIDTH == 0
    assert WIDTH <= len(data) <= WIDTH * (max_records + 1)
    assert not decode(data).header.machine & kinds.NO_DIRTY_REWALK


@given(BYTES, LIMITS, SEEDS)
def test_a_mutant_keeps_alignment_and_limit(data: bytes, max_records: int, seed: int) -> None:
    """This holds for every input, even one that is too long, cut short or has the switch set."""
    assert_well_formed(mutate.mutate(random.Random(seed), data, max_records), max_records)


@given(BYTES, BYTES, LIMITS, SEEDS)
def test_a_crossover_keeps_alignment_and_limit(
    first: bytes, second: bytes, max_records: int, seed: int
) -> None:
    """This holds for all inputs."""
    child = mutate.crossover(random.Random(seed), first, second, max_records)

    assert_well_formed(child, max_records)


@given(BYTES, BYTES, LIMITS, SEEDS)
def test_a_seed_determines_the_result(
    first: bytes, second: bytes, max_records: int, seed: int
) -> None:
    """The same draws give the same bytes, and the inputs are left alone."""
    one, two = random.Random(seed), random.Random(seed)

    assert mutate.mutate(one, first, max_records) == mutate.mutate(two, first, max_records)
    assert mutate.crossover(one, first, second, max_records) == mutate.crossover(
        two, first, second, max_records
    )


@given(scenarios(max_records=10), scenarios(max_records=10), SEEDS)
def test_a_crossover_invents_nothing(first: Scenario, second: Scenario, seed: int) -> None:
    """Every record of the child is one of its parents', byte for byte, and so is the header."""
    one, two = encode(first), encode(second)
    child = mutate.crossover(random.Random(seed), one, two, 64)

    def records(data: bytes) -> set[bytes]:
        return {data[at : at + WIDTH] for at in range(WIDTH, len(data), WIDTH)}

    assert records(child) <= records(one) | records(two)
    assert child[:WIDTH] in {one[:WIDTH], two[:WIDTH]}


@pytest.mark.parametrize("name", CHANGES)
@given(data=st.binary(min_size=8, max_size=80), limit=LIMITS, seed=SEEDS)
def test_every_change_keeps_whole_records(name: str, data: bytes, limit: int, seed: int) -> None:
    """A single change adds at most one record, and none to a full scenario."""
    bounds = mutate.Bounds(limit)
    records = mutate._whole(data, bounds)
    before = len(records)
    CHANGES[name](random.Random(seed), records, bounds)

    assert len(records) % WIDTH == 0
    assert max(WIDTH, before - WIDTH) <= len(records) <= min(before + WIDTH, WIDTH * (limit + 1))


@pytest.mark.parametrize("name", ["_replace_byte", "_take_field", "_replace_record", "_change_run"])
@given(scenario=scenarios().filter(lambda s: bool(s.records)), seed=SEEDS)
def test_a_field_change_touches_one_record(name: str, scenario: Scenario, seed: int) -> None:
    """All other records stay as they were."""
    after = changed(name, scenario, seed)
    pairs = zip(scenario.records, after.records, strict=True)

    assert after.header == scenario.header
    assert sum(old != new for old, new in pairs) <= 1


@pytest.mark.parametrize("name", ["_swap_neighbours", "_move_block"])
@given(scenario=scenarios().filter(lambda s: bool(s.records)), seed=SEEDS)
def test_reordering_loses_nothing(name: str, scenario: Scenario, seed: int) -> None:
    """The result has the same records in another order."""
    assert Counter(changed(name, scenario, seed).records) == Counter(scenario.records)


@pytest.mark.parametrize(("name", "field"), [("_retarget_page", 3), ("_retarget_cpu", 1)])
@given(scenario=scenarios().filter(lambda s: bool(s.records)), seed=SEEDS)
def test_retargeting_moves_all_records_of_one_target(
    name: str, field: int, scenario: Scenario, seed: int
) -> None:
    """Either nothing changes, or one page or CPU is gone and one other has taken its records."""
    after = changed(name, scenario, seed)

    def targets(records: tuple[Record, ...]) -> list[int]:
        return [r[field] for r in records if field == 1 or kinds.KINDS[r[0]].pages != "none"]

    old, new = targets(scenario.records), targets(after.records)
    moved = {(one, other) for one, other in zip(old, new, strict=True) if one != other}
    assert len(moved) <= 1
    for source, destination in moved:
        assert [destination if target == source else target for target in old] == new


@given(scenario=scenarios().filter(lambda s: bool(s.records)), seed=SEEDS)
def test_another_operation_keeps_its_place_and_brings_what_it_needs(
    scenario: Scenario, seed: int
) -> None:
    """One record has another kind, with its CPU, pause and pages; the records that it needs come first."""
    after = decode(mutate.retype(random.Random(seed), encode(scenario), 1000))
    records = after.records
    brought, records = (
        records[: len(records) - len(scenario.records)],
        records[-len(scenario.records) :],
    )
    changed = [(old, new) for old, new in zip(scenario.records, records, strict=True) if old != new]

    assert len(changed) <= 1
    for old, new in changed:
        assert new[0] in OPERATIONS
        assert old[1] == new[1]
        needs = needs_of(new[0])
        pages = scenario.header.pages if needs == [kinds.UFFD_REGISTER] else 1
        assert brought in ((), tuple((needed, new[1], 0, 0, pages, 0) for needed in needs))


def test_a_short_seed_grows_to_the_limit() -> None:
    """Over generations the mutants of an empty scenario use the room that they have."""
    draws = random.Random(3)
    data = b""
    longest = 0
    for _ in range(500):
        data = mutate.mutate(draws, data, 32)
        longest = max(longest, len(data))

    assert WIDTH * 33 == longest


def test_mutants_reach_every_kind_and_header() -> None:
    """From one scenario, every kind, pause of the models and layout turns up, and no broken machine."""
    draws = random.Random(5)
    drawn = [decode(mutate.mutate(draws, b"\1\0\4\0\0\0\0\0", 8)) for _ in range(12_000)]

    assert set(range(len(kinds.KINDS))) == {r[0] for s in drawn for r in s.records}
    assert {r[2] for s in drawn for r in s.records} == {
        *range(kinds.FIRST_POINT),
        *kinds.pauses_at(points_of_models()),
    }
    assert set(range(len(kinds.LAYOUTS))) == {s.header.layout for s in drawn}
    assert {s.header.machine for s in drawn} == {0, 1, 2, 3, 8, 9, 32, 64}


@given(BYTES, LIMITS, SEEDS)
def test_a_redrawn_scenario_keeps_alignment_and_limit(
    data: bytes, max_records: int, seed: int
) -> None:
    """This holds for every input, as for any other change."""
    assert_well_formed(mutate.redraw(random.Random(seed), data, max_records), max_records)


def test_rounds_redrawn_are_of_the_same_kinds() -> None:
    """A fork and a migration on a machine with INVLPGB stay, and only accesses and repairs are added."""
    header = Header(3, 2, kinds.PRIVATE, kinds.INVLPGB, 2, 1)
    records = ((kinds.FORK, 0, 0, 0, 1, 0), (kinds.MIGRATE, 1, 0, 1, 1, 0))
    around = {
        kinds.READ,
        kinds.WRITE,
        kinds.EXEC,
        kinds.FILL,
        kinds.RUN,
        kinds.MMAP,
        kinds.MPROTECT,
    }
    drawn: Counter[int] = Counter()
    for seed in range(200):
        data = mutate.redraw(random.Random(seed), encode(Scenario(header, records)), 16)
        again = decode(data)
        assert again.header == header
        drawn.update(record[0] for record in again.records)

    assert set(drawn) - around <= {kinds.FORK, kinds.MIGRATE, kinds.SWITCH}
    assert drawn[kinds.FORK] > 100
    assert drawn[kinds.MIGRATE] > 100
