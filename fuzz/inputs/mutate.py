"""Mutation on whole records of the binary form, for engines that search with a corpus.

A byte mutator of libFuzzer that inserts or deletes one byte shifts all later records; these changes
keep the width of a record, so that what made a scenario interesting mostly stays. Every result has
the header of a real machine, whole records, at most `max_records` of them, and pauses only where the
strategy under test can stop. Results need not be canonical: bytes that a record ignores may matter
again after a change.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from shootdown.fuzz.inputs.draws import Draws
from shootdown.fuzz.inputs.generate import random_header, random_record, random_scenario
from shootdown.fuzz.inputs.pauses import OF_MODELS, Pauses
from shootdown.fuzz.inputs.race_round import ALL_PAGES, ELSEWHERE, OPERATIONS
from shootdown.fuzz.inputs.races import needs_of, race_scenario
from shootdown.scenario.binary import WIDTH, decode, encode, put_run
from shootdown.scenario.kinds import EXEC, FILL, KINDS, MREMAP, READ, RUN, WRITE
from shootdown.scenario.record import Scenario
from shootdown.scenario.switches import UNREAL

_MAX_CHANGES: Final = 4
_FRESH: Final = 0.6
_REDRAWN: Final = 0.9
_AT_ONCE: Final = 5
"""The most kinds of operation in rounds that are drawn after the kinds of another scenario."""
_NEAR: Final = 4
"""The most records between two that belong together."""
_ACCESSES: Final = (READ, WRITE, WRITE, EXEC, FILL)
_TRIES: Final = 4


class Bounds(NamedTuple):
    """What a result may be: its limit of records, and its pauses."""

    max_records: int
    pauses: Pauses = OF_MODELS


Change = Callable[[Draws, bytearray, Bounds], None]
"""A function that makes one change, in place, to a header and at least one record. It may exceed the bounds: `mutate`
cuts off the excess, and replaces other pauses.
"""


def mutate(draws: Draws, data: bytes, max_records: int, pauses: Pauses = OF_MODELS) -> bytes:
    """Return the scenario after one to four changes, each of a kind drawn by weight."""
    bounds = Bounds(max_records, pauses)
    records = _whole(data, bounds)
    for _ in range(draws.randrange(1, _MAX_CHANGES + 1)):
        if len(records) == WIDTH:
            records += random_record(draws, pauses)
        else:
            draws.choice(_CHANGES)(draws, records, bounds)
    return bytes(_whole(records, bounds))


def vary(draws: Draws, data: bytes, max_records: int, pauses: Pauses = OF_MODELS) -> bytes:
    """Return a scenario that is fresh, most of the time, or has rounds like those of `data`, or is near `data`.

    zap-range-unflushed is shown by 1,041 of 100,000 fresh inputs, by 669 of as many redrawn ones and by 139 changed
    ones; v1-migration-entry by 108, 296 and 91; sample-early by 3, 23 and 0 (bench/origins.py). So a search that mostly
    changes kept inputs is slower than one that keeps nothing.
    """
    if draws.random() < _FRESH:
        return encode(random_scenario(draws, max_records, pauses))
    if draws.random() < _REDRAWN:
        return redraw(draws, data, max_records, pauses)
    return mutate(draws, data, max_records, pauses)


def redraw(draws: Draws, data: bytes, max_records: int, pauses: Pauses = OF_MODELS) -> bytes:
    """Return rounds of the same kinds of operation under the same header, drawn anew.

    In most cases the combination of the kinds led to something new, and a change of a detail breaks the race.
    """
    scenario = decode(bytes(_whole(data, Bounds(max_records, pauses))))
    kinds = sorted({record[0] for record in scenario.records}.intersection(OPERATIONS))
    if not kinds:
        return mutate(draws, data, max_records, pauses)
    kept = draws.sample(kinds, min(len(kinds), _AT_ONCE))
    return encode(race_scenario(draws, scenario.header, kept, max_records, pauses))


def retype(draws: Draws, data: bytes, max_records: int, pauses: Pauses = OF_MODELS) -> bytes:
    """Return the scenario with one operation replaced by another, and with what the new one needs before it.

    One cause breaks several rules: which one depends on what the misled operation does.
    """
    bounds = Bounds(max_records, pauses)
    records = _whole(data, bounds)
    if len(records) > WIDTH:
        _other_operation(draws, records, bounds)
    return bytes(_whole(records, bounds))


def crossover(
    draws: Draws, first: bytes, second: bytes, max_records: int, pauses: Pauses = OF_MODELS
) -> bytes:
    """Return the first scenario with a block of the second: as its tail, inserted, or as a replacement."""
    bounds = Bounds(max_records, pauses)
    records, other = _whole(first, bounds), _whole(second, bounds)
    start, end = _block(draws, other)
    at = _boundary(draws, records)
    form = draws.randrange(0, 3)
    if form == 0:
        records[at:] = other[start:]
    elif form == 1:
        records[at:at] = other[start:end]
    else:
        records[at : at + end - start] = other[start:end]
    if draws.random() < 0.25:
        records[:WIDTH] = other[:WIDTH]
    return bytes(_whole(records, bounds))


def _whole(data: bytes | bytearray, bounds: Bounds) -> bytearray:
    """Return a copy that keeps the promises of this module about width, length, switches and pauses."""
    records = bytearray(data[: WIDTH * (bounds.max_records + 1)].ljust(WIDTH, b"\0"))
    del records[len(records) // WIDTH * WIDTH :]
    records[2] &= ~UNREAL & 0xFF
    bounds.pauses.fit(records)
    return records


def _any_record(draws: Draws, records: bytearray) -> int:
    """Return the position of a record."""
    return draws.randrange(1, len(records) // WIDTH) * WIDTH


def _boundary(draws: Draws, records: bytearray) -> int:
    """Return the position of a record, or the end."""
    return draws.randrange(1, len(records) // WIDTH + 1) * WIDTH


def _block(draws: Draws, records: bytearray) -> tuple[int, int]:
    """Return the positions of two boundaries in order."""
    first, second = _boundary(draws, records), _boundary(draws, records)
    return (first, second) if first <= second else (second, first)


def _replace_byte(draws: Draws, records: bytearray, _: Bounds) -> None:
    """Replace one field of one record: its kind, its CPU and run, its pages, or its argument."""
    at = _any_record(draws, records) + draws.randrange(0, WIDTH)
    records[at] = draws.randrange(0, 256)


def _take_field(draws: Draws, records: bytearray, _: Bounds) -> None:
    """Give one record a field of another one, so that the two meet on it."""
    field = draws.randrange(0, WIDTH)
    records[_any_record(draws, records) + field] = records[_any_record(draws, records) + field]


def _replace_record(draws: Draws, records: bytearray, bounds: Bounds) -> None:
    at = _any_record(draws, records)
    records[at : at + WIDTH] = random_record(draws, bounds.pauses)


def _insert(draws: Draws, records: bytearray, bounds: Bounds) -> None:
    _make_room(draws, records, bounds)
    at = _boundary(draws, records)
    records[at:at] = random_record(draws, bounds.pauses)


def _delete(draws: Draws, records: bytearray, _: Bounds) -> None:
    at = _any_record(draws, records)
    del records[at : at + WIDTH]


def _duplicate(draws: Draws, records: bytearray, bounds: Bounds) -> None:
    at = _any_record(draws, records)
    copy = records[at : at + WIDTH]
    _make_room(draws, records, bounds)
    at = _boundary(draws, records)
    records[at:at] = copy


def _make_room(draws: Draws, records: bytearray, bounds: Bounds) -> None:
    # In a full scenario any record may be removed; if only the last were cut off, the end would never change.
    if len(records) // WIDTH > bounds.max_records:
        _delete(draws, records, bounds)


def _swap_neighbours(draws: Draws, records: bytearray, _: Bounds) -> None:
    at = _any_record(draws, records)
    records[at : at + 2 * WIDTH] = records[at + WIDTH : at + 2 * WIDTH] + records[at : at + WIDTH]


def _move_block(draws: Draws, records: bytearray, _: Bounds) -> None:
    start, end = _block(draws, records)
    block = records[start:end]
    del records[start:end]
    at = _boundary(draws, records)
    records[at:at] = block


def _add_companion(draws: Draws, records: bytearray, bounds: Bounds) -> None:
    """Add, after one record, an access to its pages from another CPU: the meeting that a race needs."""
    at = _any_record(draws, records)
    cpus = (records[0] & 7) + 1
    cpu = (records[at + 1] + draws.randrange(0, cpus)) % 8 % cpus
    access = draws.choice(_ACCESSES)
    companion = bytes((access, cpu, records[at + 2] & 7, 0))
    _make_room(draws, records, bounds)
    at = min(at + WIDTH * draws.randrange(1, _NEAR), len(records))
    records[at:at] = companion


def _meet(draws: Draws, records: bytearray, bounds: Bounds) -> None:
    """Pause one operation, and begin one on another CPU, mostly on its pages: the shape of the historical races.

    An mremap is met at the place to which it moves its pages.
    """
    at = _any_operation(draws, records)
    pages = (records[0] >> 3 & 7) + 1
    cpus = (records[0] & 7) + 1
    if draws.random() < ELSEWHERE:
        page = draws.randrange(0, pages)
    else:
        moves = records[at] % len(KINDS) == MREMAP
        page = records[at + 3] % pages if moves else records[at + 2] & 7
    put_run(records, at, draws.choice(bounds.pauses.cuts))
    other = bytearray(random_record(draws, bounds.pauses))
    other[0] = draws.choice(OPERATIONS)
    other[1] = (records[at + 1] + draws.randrange(1, max(cpus, 2))) % 8 % cpus | other[1] & ~7
    other[2] = other[2] & ~7 | page
    _make_room(draws, records, bounds)
    at = min(at + WIDTH, len(records))
    records[at:at] = other


def _any_operation(draws: Draws, records: bytearray) -> int:
    """Return the position of a record, and of an operation that is not an access if a few draws find one."""
    at = _any_record(draws, records)
    for _ in range(_TRIES):
        if records[at] % len(KINDS) in OPERATIONS:
            break
        at = _any_record(draws, records)
    return at


def _other_operation(draws: Draws, records: bytearray, bounds: Bounds) -> None:
    """Turn one operation into another at the same place, with the same pauses."""
    at = _any_operation(draws, records)
    kind = draws.choice(OPERATIONS)
    records[at], records[at + 3] = kind, draws.randrange(0, 256)
    for needed in needs_of(kind):
        need = bytes((needed, records[at + 1] & 7, ALL_PAGES, 0))
        _make_room(draws, records, bounds)
        records[WIDTH:WIDTH] = need


def _cut_operation(draws: Draws, records: bytearray, bounds: Bounds) -> None:
    """Pause one operation, and let it go on a few records later."""
    at = _any_record(draws, records)
    cpu = records[at + 1] & 7
    put_run(records, at, draws.choice(bounds.pauses.cuts))
    _make_room(draws, records, bounds)
    at = min(at + WIDTH * draws.randrange(2, 2 * _NEAR), len(records))
    records[at:at] = bytes((RUN, cpu, 0, 0))


def _retarget_page(draws: Draws, records: bytearray, _: Bounds) -> None:
    """Let all records on one page name another page."""
    pages = (records[0] >> 3 & 7) + 1
    _retarget(records, 2, pages, draws.randrange(0, pages), draws.randrange(0, pages))


def _retarget_cpu(draws: Draws, records: bytearray, _: Bounds) -> None:
    """Move all records of one CPU to another."""
    cpus = (records[0] & 7) + 1
    _retarget(records, 1, cpus, draws.randrange(0, cpus), draws.randrange(0, cpus))


def _retarget(records: bytearray, field: int, modulus: int, old: int, new: int) -> None:
    for at in range(WIDTH + field, len(records), WIDTH):
        if (records[at] & 7) % modulus == old:
            records[at] = records[at] & ~7 | new


def _change_run(draws: Draws, records: bytearray, bounds: Bounds) -> None:
    """Let one record pause somewhere else, or not at all."""
    at = _any_record(draws, records)
    put_run(records, at, draws.choice(bounds.pauses.cuts) if draws.random() < 0.7 else 0)


def _change_header(draws: Draws, records: bytearray, _: Bounds) -> None:
    """Change one byte of the header: sizes, layout, machine, or identifiers and batch."""
    at = draws.randrange(0, WIDTH)
    records[at] = encode(Scenario(random_header(draws), ()))[at]


# Repetitions are the weights. Growing outweighs shrinking, so that short seeds fill up over generations.
_CHANGES: Final[tuple[Change, ...]] = (
    *(_replace_byte,) * 3,
    *(_take_field,) * 2,
    *(_replace_record,) * 2,
    *(_insert,) * 3,
    *(_duplicate,) * 2,
    *(_delete,) * 2,
    *(_swap_neighbours,) * 2,
    *(_move_block,) * 2,
    *(_change_run,) * 4,
    *(_add_companion,) * 3,
    *(_meet,) * 4,
    *(_cut_operation,) * 4,
    *(_other_operation,) * 2,
    _retarget_page,
    _retarget_cpu,
    _change_header,
)
