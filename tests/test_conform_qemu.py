"""The machine compared with QEMU's MMU, event by event, and whether broken rules are found."""

import json
from random import Random

import pytest

from shootdown.cli import conform_qemu as report
from shootdown.cli.exit_codes import ILLEGAL_FOUND, OK
from shootdown.conform.qemu.campaign import (
    SETTINGS,
    Disagreement,
    Result,
    case_text,
    finished,
    parse_case,
    run,
    sequence_of,
)
from shootdown.conform.qemu.compare import compare
from shootdown.conform.qemu.events import EventError, Shape, parse, random_events, render
from shootdown.conform.qemu.known import DROPS, WALKS_AGAIN, WRPKRU_DROPS
from shootdown.conform.qemu.sabotage import SABOTAGES, InvlpgDropsNothing, NxIgnored
from shootdown.conform.qemu.shorten import shorten
from shootdown.conform.qemu.sides import EXACT, MAY_DROP, MODES, UNNAMED, Setting
from shootdown.machine.entry import (
    ACCESSED,
    DIRTY,
    EXEC,
    GLOBAL,
    NX,
    PRESENT,
    PSE,
    READ,
    RW,
    USER,
    WRITE,
)
from shootdown.machine.geometry import FANOUT, FRAME_BITS, FRAMES, PAGES
from shootdown.machine.qemu.mmu import Mmu
from shootdown.machine.x86 import Machine
from shootdown.scenario.switches import AMD, FRACTURED, SPLIT_TLB

ALL = PRESENT | RW | USER
ROOT, TABLE, DATA = 0, 4, 8

# The MMU itself.


def tables(leaf: int = FRAME_BITS[DATA] | ALL, upper: int = ALL) -> list[int]:
    """Return memory in which page 0 has a leaf and an upper entry, and nothing else is mapped."""
    memory = [0] * (FRAMES * FANOUT)
    memory[ROOT << 2] = FRAME_BITS[TABLE] | upper
    memory[TABLE << 2] = leaf
    return memory


def mmu() -> Mmu:
    """Return an MMU with nothing cached, whose root is ROOT."""
    made = Mmu()
    made.set_root(ROOT)
    return made


def test_mmu_sets_accessed_and_dirty() -> None:
    """A load sets A at both levels, a store D in the leaf; both say which frame they went to."""
    m, memory = mmu(), tables()

    assert m.access(0, READ, memory) == DATA
    assert (memory[ROOT << 2] & (ACCESSED | DIRTY), memory[TABLE << 2] & DIRTY) == (ACCESSED, 0)
    assert m.access(0, WRITE, memory) == DATA
    assert memory[TABLE << 2] == FRAME_BITS[DATA] | ALL | ACCESSED | DIRTY


@pytest.mark.parametrize(
    ("leaf", "kind", "code"),
    [
        pytest.param(0, READ, 0x4, id="absent load"),
        pytest.param(0, WRITE, 0x6, id="absent store"),
        pytest.param(0, EXEC, 0x14, id="absent fetch"),
        pytest.param(PRESENT | USER, WRITE, 0x7, id="denied store"),
        pytest.param(ALL | NX, EXEC, 0x15, id="denied fetch"),
        pytest.param(PRESENT | RW, READ, 0x5, id="supervisor"),
    ],
)
def test_mmu_says_why_it_faults(leaf: int, kind: int, code: int) -> None:
    """The error code and the address are those of the access, at the tenth fault as at the first."""
    m, memory = mmu(), tables(FRAME_BITS[DATA] | leaf if leaf else 0)

    assert [m.access(0, kind, memory) for _ in range(10)] == [-code] * 10
    assert m.fault_address == 0


@pytest.mark.parametrize("page", range(PAGES))
def test_mmu_sees_each_page_of_a_large_leaf(page: int) -> None:
    """A page of a leaf of 2 MiB is its piece of the block, for loads, stores and fetches."""
    m, memory = mmu(), tables()
    memory[ROOT << 2 | page // FANOUT] = FRAME_BITS[40] | ALL | PSE

    for kind in (READ, WRITE, EXEC):
        assert m.access(page, kind, memory) == 40 + page % FANOUT


def test_mmu_keeps_what_nothing_drops() -> None:
    """A stale entry serves loads and fetches until INVLPG; another root alone drops nothing, but MOV to CR3 does."""
    m, memory = mmu(), tables()
    m.access(0, READ, memory)
    memory[TABLE << 2] = 0

    assert [m.access(0, kind, memory) for kind in (READ, EXEC)] == [DATA, DATA]
    m.set_root(-1)
    assert m.access(0, READ, memory) == DATA
    m.set_root(ROOT)
    m.flush()
    assert m.access(0, READ, memory) == -4


def test_mmu_forgets_code_of_large_leaves() -> None:
    """INVLPG for one page of a leaf of 2 MiB makes fetches from the other pages walk again, even from the
    same address.
    """
    m, memory = mmu(), tables()
    memory[ROOT << 2] = FRAME_BITS[40] | ALL | PSE
    m.access(2, EXEC, memory)
    memory[ROOT << 2] |= NX
    m.invlpg(1)

    assert m.access(2, EXEC, memory, twice=True) == -0x15


def test_mmu_says_whether_it_walked() -> None:
    """With `probe` a walk shows, even if A is already set; a hit does not show."""
    m, memory = mmu(), tables(FRAME_BITS[DATA] | ALL | ACCESSED)
    walked = []
    for _ in range(2):
        m.access(0, READ, memory, probe=True)
        walked.append(m.walked)
    m.invlpg(0)
    m.access(0, READ, memory, probe=True)

    assert [*walked, m.walked] == [True, False, True]


# Events.


@pytest.mark.parametrize("mode", MODES)
def test_the_machine_agrees_with_qemu(mode: str) -> None:
    """On QEMU's MMU, random events have an outcome that the machine allows, or the one that it demands."""
    result = finished(run(7, mode=mode, sequences=300))

    assert result.disagreements == []
    assert (result.sequences, result.accesses > 6000) == (300, True)
    assert set(result.explained) == (set(DROPS) if mode == MAY_DROP else set())


@pytest.mark.parametrize("sabotaged", SABOTAGES, ids=lambda each: each.__name__)
def test_each_broken_rule_is_found(sabotaged: type[Machine]) -> None:
    """A machine with one rule broken disagrees within 3,000 sequences."""
    result = finished(run(1, sequences=3000, machine_type=sabotaged, most=1))

    assert len(result.disagreements) == 1


def test_a_case_runs_again() -> None:
    """The text of a disagreement has everything that is needed to show it again, and nothing of it can be left out."""
    (found,) = finished(run(1, mode=EXACT, machine_type=InvlpgDropsNothing, most=1)).disagreements
    setting, events = parse_case(found.case)
    shown = compare(events, setting, InvlpgDropsNothing).difference

    assert shown is not None
    assert (shown.at, shown.machine, shown.qemu) == (len(events) - 1, found.machine, found.qemu)
    assert compare(events, setting).difference is None
    for at in range(len(events) - 1):
        fewer = events[:at] + events[at + 1 :]
        again = compare(fewer, setting, InvlpgDropsNothing).difference
        assert again is None or again.at < len(fewer) - 1 or again.what != found.what


def test_a_drop_without_a_name_is_a_disagreement() -> None:
    """If nothing known makes QEMU drop an entry that grants the access, its new walk is not forgiven."""
    text = """
        f1[0] = f4 P RW US
        f4[0] = f8 P RW US D
        cpu0 cr3 f1 pcid0
        cpu0 read p0
        f4[0] = f9 P RW US D
        cpu0 invlpg p0
        cpu0 read p0
    """
    setting = Setting(MAY_DROP, Shape(cpus=1))

    assert compare(parse(text), setting).difference is None
    found = compare(parse(text), setting, InvlpgDropsNothing).difference
    assert found is not None
    assert found.what == UNNAMED


def test_remembered_code_says_nothing_of_the_tlb() -> None:
    """A fetch from one address may use remembered code; the next one, from another address, uses what a store has
    cached.
    """
    case = """may-drop amd split_tlb, cpus 2
f1[1] = f4 P RW US
f4[3] = f11 P RW US
cpu0 cr3 f1 pcid1
cpu0 exec p7
cpu0 invlpg p3
cpu0 cr3 f1 pcid1 noflush
f7[3] = f9 P RW US D
f1[1] = f7 P RW US
cpu0 write p7
f7[3] = f12 P RW US A D
cpu0 exec p7 twice
cpu0 exec p7
"""
    setting, events = parse_case(case)

    assert compare(events, setting, Machine).difference is None


def test_what_qemu_drops_has_its_name() -> None:
    """A stale denial is walked again, and a drop after WRPKRU is assigned to it; the events in between agree."""
    denial = """
        f1[0] = f4 P RW US
        f4[0] = f8 P US
        cpu0 cr3 f1 pcid0
        cpu0 read p0
        f4[0] = f8 P RW US
        cpu0 write p0
    """
    drop = """
        f1[0] = f4 P RW US
        f4[0] = f8 P US
        cpu0 cr3 f1 pcid0
        cpu0 read p0
        cpu0 wrpkru 0x4
        f4[0] = f9 P US
        cpu0 read p0
    """
    setting = Setting(MAY_DROP, Shape(cpus=1, keys=True), 0)

    assert compare(parse(denial), setting).explained == {WALKS_AGAIN: 1}
    assert compare(parse(drop), setting).explained == {WRPKRU_DROPS: 1}


@pytest.mark.parametrize("mode", MODES)
def test_events_survive_text(mode: str) -> None:
    """`parse` reads again what `render` writes for any sequence, and `case_text` says how it is compared."""
    for number in range(50):
        setting, events = sequence_of(3, number, mode)
        assert parse(render(events)) == events
        again, same = parse_case(case_text(setting, events))
        assert same == events
        shape = setting.shape
        assert again == setting._replace(shape=Shape(cpus=shape.cpus, kept=shape.kept))


@pytest.mark.parametrize(
    "line", ["cpu0 jump p0", "f0[0] = g1 P", "f0[0] = f1 Q", "cpu0 read", "x", "cpu0 cr3 f0"]
)
def test_what_is_no_event_is_refused(line: str) -> None:
    """A line that is no event is named."""
    with pytest.raises(EventError, match="is no event"):
        parse(line)
    with pytest.raises(EventError, match="does not say"):
        parse_case(line)


def test_a_seed_repeats_its_sequences() -> None:
    """Seed, mode and number make the sequence; another number makes another one."""
    assert sequence_of(1, 5, MAY_DROP) == sequence_of(1, 5, MAY_DROP)
    assert sequence_of(1, 5, MAY_DROP) != sequence_of(1, 6, MAY_DROP)


def test_settings_can_be_compared() -> None:
    """Pieces go with leaves of 2 MiB unless only one page of each is used, and fetches from one address with two TLBs,
    as in QEMU.
    """
    for setting in (*SETTINGS[EXACT], *SETTINGS[MAY_DROP]):
        shape = setting.shape
        assert not shape.huge or shape.whole or setting.machine & FRACTURED
        assert shape.twice == bool(setting.machine & SPLIT_TLB)
        if setting.mode == EXACT:
            assert (shape.global_, setting.machine & AMD) == (shape.kept, AMD)


def test_generated_leaves_have_every_bit() -> None:
    """Entries of both levels come with and without each bit that is compared."""
    shape = Shape(huge=True, global_=True, keys=True)
    events = [event for seed in range(20) for event in random_events(Random(seed), shape, 60)]
    stored = [event.third for event in events if event.kind == 1]

    for bit in (PRESENT, RW, USER, ACCESSED, DIRTY, PSE, GLOBAL, NX, 1 << 59):
        assert {bool(entry & bit) for entry in stored} == {True, False}


def test_shorten_leaves_what_is_needed() -> None:
    """From a list of numbers, everything that the predicate asks for is left, in order; the budget bounds its calls."""
    wanted = {3, 50, 51, 99}
    calls = 0

    def interesting(numbers: list[int]) -> bool:
        nonlocal calls
        calls += 1
        return wanted <= set(numbers)

    assert shorten(range(100), interesting) == sorted(wanted)
    assert calls < 100
    calls = 0
    assert wanted <= set(shorten(range(100), interesting, budget=5))
    assert calls == 5


# The report.


def test_the_report_of_agreement(capsys: pytest.CaptureFixture[str]) -> None:
    """The report has the figures, and each known deviation with its manual section; the result is stored."""
    stored: list[Disagreement | Result] = []
    code = report.conform_qemu(
        seconds=None, sequences=200, seed=3, mode="both", as_json=False, store=stored.append
    )
    out = capsys.readouterr().out

    assert code == OK
    (result,) = stored
    assert isinstance(result, Result)
    assert f"200 sequences, {result.events:,} events, {result.accesses:,} accesses" in out
    assert "SDM vol. 3A 4.10.4.3" in out
    assert out.endswith("No disagreement.\n")
    assert max(map(len, out.splitlines())) <= 100


def test_the_report_of_a_disagreement(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disagreement ends with exit code 1; it is stored before the result, and the report has its case."""
    monkeypatch.setattr(
        report, "run", lambda seed, **limits: run(seed, **limits, machine_type=NxIgnored, most=2)
    )
    stored: list[Disagreement | Result] = []
    code = report.conform_qemu(
        seconds=None, sequences=500, seed=3, mode="exact", as_json=False, store=stored.append
    )
    out = capsys.readouterr().out

    assert code == ILLEGAL_FOUND
    first, second, result = stored
    assert isinstance(first, Disagreement)
    assert isinstance(second, Disagreement)
    assert isinstance(result, Result)
    assert result.disagreements == [first, second]
    assert "2 disagreements that nothing explains." in out
    assert (
        f"Again: shootdown conform --machine qemu --mode exact --seed 3 --first {first.sequence}"
        in out
    )
    code = report.conform_qemu(
        seconds=None, sequences=500, seed=3, mode="exact", as_json=True, store=stored.append
    )
    told = json.loads(capsys.readouterr().out)
    assert (code, told["unexplained"]) == (ILLEGAL_FOUND, 2)
    assert told["disagreements"][0]["case"] == first.case
