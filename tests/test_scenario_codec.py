"""The binary form is total, canonical and local; and the table of kinds from which it is made."""

from hypothesis import given
from hypothesis import strategies as st

from shootdown.fuzz.engines.strategies import scenarios
from shootdown.mm.step import STEP_POINTS
from shootdown.scenario import Header, Scenario, decode, encode, kinds
from shootdown.scenario.binary import WIDTH, put_run, run_at, run_bits

BYTES = st.binary(max_size=4 + 12 * 4 + 3)


def assert_canonical(scenario: Scenario) -> None:
    """Assert that every field is below its limit, and that every field that its kind does not use is neutral."""
    header = scenario.header
    assert 1 <= header.cpus <= kinds.MAX_CPUS
    assert 1 <= header.pages <= kinds.MAX_PAGES
    assert 0 <= header.layout < len(kinds.LAYOUTS)
    assert 0 <= header.machine < 1 << len(kinds.SWITCHES)
    assert 1 <= header.asids <= kinds.MAX_ASIDS
    assert 1 <= header.batch <= kinds.MAX_BATCH
    for number, cpu, run, page, count, arg in scenario.records:
        kind = kinds.KINDS[number]
        assert 0 <= cpu < header.cpus
        assert 0 <= run < kinds.FIRST_POINT + len(kinds.POINTS)
        assert run == 0 or kind.pausable
        assert page == 0 or kind.pages != "none"
        assert count == 1 or kind.pages == "range"
        assert 0 <= page < page + count <= header.pages
        assert 0 <= arg < len(kind.argument.names)
        if kind.argument.of_pages:
            assert arg < header.pages


@given(BYTES)
def test_every_byte_string_decodes_to_a_canonical_scenario(data: bytes) -> None:
    """No byte string is rejected, and the scenario has the whole records after the header."""
    scenario = decode(data)

    assert_canonical(scenario)
    assert len(scenario.records) == max(0, len(data) // WIDTH - 1)


@given(BYTES)
def test_encoding_what_was_decoded_is_idempotent(data: bytes) -> None:
    """The first round trip reaches the canonical bytes, and a second one changes nothing."""
    canonical = encode(decode(data))

    assert encode(decode(canonical)) == canonical
    assert decode(canonical) == decode(data)


@given(scenarios())
def test_a_scenario_survives_its_binary_form(scenario: Scenario) -> None:
    """Decoding what was encoded gives the same scenario."""
    assert decode(encode(scenario)) == scenario


@given(BYTES.filter(lambda data: len(data) > WIDTH), st.data())
def test_an_edit_of_one_byte_changes_at_most_the_record_that_it_is_in(
    data: bytes, draw: st.DataObject
) -> None:
    """All other records and the header stay as they were."""
    at = draw.draw(st.integers(WIDTH, len(data) - 1))
    edited = bytearray(data)
    edited[at] = draw.draw(st.integers(0, 255))

    before, after = decode(data), decode(bytes(edited))

    assert after.header == before.header
    assert len(before.records) == len(after.records)
    changed = {i for i, record in enumerate(before.records) if record != after.records[i]}
    assert changed <= {at // WIDTH - 1}


@given(BYTES.filter(lambda data: len(data) >= WIDTH), st.binary(min_size=WIDTH, max_size=WIDTH))
def test_an_inserted_record_leaves_the_others_alone(data: bytes, record: bytes) -> None:
    """Four bytes at a record boundary add one record."""
    before = decode(data).records
    after = decode(data[:WIDTH] + record + data[WIDTH:]).records

    assert after[1:] == before


def test_no_bytes_are_the_smallest_scenario() -> None:
    """Missing header bytes count as zeros: one CPU, one page, private memory, nothing happens."""
    assert decode(b"") == Scenario(Header(cpus=1, pages=1), ())
    assert encode(decode(b"")) == bytes(4)


def test_the_layout_of_the_bytes() -> None:
    """The positions of the fields are part of the format: stored corpora depend on them."""
    header = Header(
        cpus=3,
        pages=4,
        layout=kinds.HUGE,
        machine=kinds.AMD | kinds.NO_DIRTY_REWALK,
        asids=6,
        batch=4,
    )
    until_flush = kinds.FIRST_POINT + kinds.POINTS.index("flush")
    records = (
        (kinds.MPROTECT, 2, until_flush, 1, 3, kinds.PROT_READ | kinds.PROT_EXEC),
        (kinds.MMAP, 0, 3, 0, 2, kinds.PROT_WRITE | kinds.MAP_SHARED << kinds.MAP_SHIFT),
        (kinds.EVICT, 1, 0, 3, 1, 0),
        (kinds.RUN, 1, kinds.WINDOW, 0, 1, 0),
        (kinds.MUNMAP, 1, kinds.FIRST_POINT + kinds.POINTS.index("mask"), 2, 2, 0),
    )

    data = bytes.fromhex("1a03051d 03a21105 0518080a 14010300 12e90000 04094a00")

    assert encode(Scenario(header, records)) == data
    assert decode(data) == Scenario(header, records)


def test_reserved_pauses_and_ignored_bits_have_no_effect() -> None:
    """Run values above the last point run to completion, and the bits that no field owns are dropped."""
    reserved = range(kinds.FIRST_POINT + len(kinds.POINTS), kinds.RUNS)
    plain = bytes((1, 1, 0, 0)) + bytes((kinds.WRITE, 1, 0, 0))
    assert reserved
    for run in reserved:
        low, high = run_bits(run)
        noisy = bytes((0xC1, 1, 0x80, 0xE0)) + bytes((kinds.WRITE, 1 | low, 0x87 | high, 0xFF))
        assert decode(noisy) == decode(plain)


def test_every_pause_survives_the_binary_form() -> None:
    """Each value of the run field is read as it was written, and stands beside the CPU and the pages of its record."""
    header = Header(cpus=8, pages=8)
    records = tuple(
        (kinds.MUNMAP, run % 8, run, 1, 1 + run % 7, 0)
        for run in range(kinds.FIRST_POINT + len(kinds.POINTS))
    )
    data = bytearray(encode(Scenario(header, records)))

    assert decode(bytes(data)).records == records
    assert [run_at(data, at) for at in range(WIDTH, len(data), WIDTH)] == [r[2] for r in records]
    for at in range(WIDTH, len(data), WIDTH):
        put_run(data, at, kinds.WINDOW)
    assert decode(bytes(data)).records == tuple(
        (kind, cpu, kinds.WINDOW, page, count, arg) for kind, cpu, _, page, count, arg in records
    )


def test_the_pauses_that_are_stored_keep_their_numbers() -> None:
    """A point is added after the others: stored scenarios and corpora name a pause by its position."""
    assert kinds.POINTS[:16] == (
        "lock",
        "change",
        "commit",
        "unlock",
        "flush",
        "ack",
        "copy",
        "install",
        "free",
        "return",
        "switch",
        "fault",
        "check",
        "window",
        "generation",
        "cr3",
    )
    assert sorted(kinds.POINTS) == sorted((*STEP_POINTS, "window"))
    assert kinds.pauses_at(("window", "lock")) == (kinds.FIRST_POINT, kinds.WINDOW)


def test_a_range_ends_at_the_last_page() -> None:
    """A count that would go past the last page is clipped to it."""
    (record,) = decode(bytes((2 << 3, 0, 0, 0)) + bytes((kinds.MUNMAP, 0, 1 | 7 << 3, 0))).records

    assert (kinds.MUNMAP, 0, 0, 1, 2, 0) == record


def test_the_constants_are_the_positions_in_the_table() -> None:
    """A constant with the name of a kind in capitals is its number; the code has one if it refers to the kind."""
    numbers = {kind.name.upper(): number for number, kind in enumerate(kinds.KINDS)}
    constants = {name: value for name, value in vars(kinds).items() if name in numbers}

    assert len(numbers) == len(kinds.KINDS)
    assert len(constants) > 30
    assert constants == {name: numbers[name] for name in constants}


def test_the_values_of_the_tables_fit_their_bits() -> None:
    """Runs fit six bits, switches and arguments a byte; so every value can be written."""
    assert kinds.FIRST_POINT + len(kinds.POINTS) <= kinds.RUNS == 64
    assert kinds.MAX_STEPS + 1 == kinds.FIRST_POINT
    assert len(kinds.SWITCHES) <= 8
    assert all(len(kind.argument.names) <= 256 for kind in kinds.KINDS)
    assert len(kinds.SPACE.names) == kinds.MAX_SPACES
    for protection, name in enumerate(kinds.PROTECTIONS[1:], 1):
        bits = {"r": kinds.PROT_READ, "w": kinds.PROT_WRITE, "x": kinds.PROT_EXEC}
        assert protection == sum(bits[letter] for letter in name)
