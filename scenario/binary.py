"""The binary form: a header of 4 bytes, then 4 bytes a record; every byte string is a scenario.

    header  0  bits 0-2 CPUs - 1, bits 3-5 pages - 1
            1  layout, modulo the number of layouts
            2  machine switches, a bit each
            3  bits 0-2 (address-space identifiers - 1) modulo 6, bits 3-4 batch - 1
    record  0  kind, modulo the number of kinds
            1  bits 0-2 CPU modulo CPUs, bits 3-7 bits 0-4 of the run
            2  bits 0-2 page modulo pages, bits 3-5 count - 1, clipped to the last page, bit 6 bit 5 of the run
            3  argument, modulo the number of values that the kind's argument has

Missing header bytes count as 0, an incomplete last record is dropped, other bits are ignored. The width is fixed so
that an edit of one record leaves all others unchanged: even a byte mutator that knows nothing of scenarios makes small
changes.
"""

from functools import cache
from typing import Final, TypeAlias

from shootdown.scenario.kinds import (
    FIRST_POINT,
    KINDS,
    LAYOUTS,
    MAX_ASIDS,
    MAX_CPUS,
    MAX_PAGES,
    POINTS,
    RUNS,
    SWITCHES,
)
from shootdown.scenario.record import Header, Record, Scenario

WIDTH: Final = 4
"""Bytes of the header, and of each record."""
HIGH_RUN: Final = 1 << 6
"""The highest bit of a record's run, in its third byte: the second one is full."""

_Pairs: TypeAlias = tuple[tuple[int, int], ...]
# For each first byte of a record: the kind, and then the meaning of each value of the three other bytes; the values of
# the second one have a ninth bit, which lies in the third.
_Row: TypeAlias = tuple[int, _Pairs, _Pairs, bytes]


@cache
def _cpu_and_run(cpus: int, *, pausable: bool) -> _Pairs:
    """Return the CPU and the run of a second byte; the place of the highest bit of the run is above the byte."""
    runs = [run if run < FIRST_POINT + len(POINTS) else 0 for run in range(RUNS)]
    return tuple((low % 8 % cpus, runs[low >> 3] if pausable else 0) for low in range(RUNS << 3))


@cache
def _page_and_count(pages: int, used: str) -> _Pairs:
    pairs = []
    for byte in range(256):
        page = 0 if used == "none" else byte % 8 % pages
        count = (byte >> 3) % 8 + 1 if used == "range" else 1
        pairs.append((page, min(count, pages - page)))
    return tuple(pairs)


@cache
def _arguments(values: int) -> bytes:
    return bytes(byte % values for byte in range(256))


def _row(kind: int, cpus: int, pages: int) -> _Row:
    _, used, pausable, argument, _ = KINDS[kind]
    values = pages if argument.of_pages else len(argument.names)
    return (
        kind,
        _cpu_and_run(cpus, pausable=pausable),
        _page_and_count(pages, used),
        _arguments(values),
    )


def _rows(sizes: int) -> tuple[_Row, ...]:
    """Return the row of each kind byte, for the first byte of a header."""
    rows = [_row(kind, sizes % 8 + 1, sizes // 8 + 1) for kind in range(len(KINDS))]
    return tuple(rows[byte % len(rows)] for byte in range(256))


_ROWS: Final = tuple(_rows(sizes) for sizes in range(MAX_CPUS * MAX_PAGES))


def decode(data: bytes) -> Scenario:
    """Return the scenario of a byte string, with all fields canonical; every byte string has one.

    A change of one byte after the header changes at most the record that it lies in.
    """
    if len(data) < WIDTH:
        data = data.ljust(WIDTH, b"\0")
    sizes, layout, switches, tags = data[:WIDTH]
    header = Header(
        (sizes & 7) + 1,
        (sizes >> 3 & 7) + 1,
        layout % len(LAYOUTS),
        switches & (1 << len(SWITCHES)) - 1,
        (tags & 7) % MAX_ASIDS + 1,
        (tags >> 3 & 3) + 1,
    )
    rows = _ROWS[sizes & 63]
    records: list[Record] = []
    append = records.append
    # zip() stops at the shortest slice, and so drops an incomplete last record.
    for first, second, third, fourth in zip(
        data[4::4], data[5::4], data[6::4], data[7::4], strict=False
    ):
        kind, cpu_column, page_column, arguments = rows[first]
        cpu, run = cpu_column[second | (third & HIGH_RUN) << 2]
        page, count = page_column[third]
        append((kind, cpu, run, page, count, arguments[fourth]))
    return Scenario(header, tuple(records))


def encode(scenario: Scenario) -> bytes:
    """Return the bytes that decode to a canonical scenario, with every ignored bit 0.

    A scenario whose fields fit their bits but not their limits (such as a CPU above the number of CPUs) can be encoded
    too; decoding then reduces the fields, so `decode(encode(s))` makes such a scenario canonical.
    """
    (cpus, pages, layout, machine, asids, batch), records = scenario
    data = bytearray((cpus - 1 | pages - 1 << 3, layout, machine, asids - 1 | batch - 1 << 3))
    for kind, cpu, run, page, count, arg in records:
        # As run_bits says; with a call for each record it takes a fifth longer.
        data += bytes(
            (kind, cpu | run << 3 & 0xFF, page | count - 1 << 3 | run << 1 & HIGH_RUN, arg)
        )
    return bytes(data)


def run_bits(run: int) -> tuple[int, int]:
    """Return the bits of a run in the second and in the third byte of a record."""
    return run << 3 & 0xFF, run << 1 & HIGH_RUN


def run_at(data: bytes | bytearray, at: int) -> int:
    """Return the run of the record at a position, which may be one that decoding would replace."""
    return data[at + 1] >> 3 | (data[at + 2] & HIGH_RUN) >> 1


def put_run(data: bytearray, at: int, run: int) -> None:
    """Give the record at a position another run."""
    low, high = run_bits(run)
    data[at + 1] = data[at + 1] & 7 | low
    data[at + 2] = data[at + 2] & ~HIGH_RUN | high
